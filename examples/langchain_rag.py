"""RAG with LangChain: documents and demonstrations in one Chroma, the answer chosen by the instant scorer."""

import tempfile
from operator import itemgetter
from pathlib import Path

import chromadb
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from icdpo_chains import DemonstrationStore, SentenceTransformerEmbedder, starter_demonstrations
from langchain_icdpo import ChatICDPO, create_icdpo_chain

FACTS = [
    "The library opens at nine in the morning and closes at six in the evening. On Sundays it is closed.",
    "A library card is free for everybody who lives in the town. Bring a letter that shows your address.",
    "Books may be kept for four weeks. A book that comes back late costs ten cents a day.",
]

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory) / "chroma"

    # One directory, two collections: demonstrations say how to answer, documents say what.
    with DemonstrationStore(path) as demonstrations:
        demonstrations.add(starter_demonstrations())
    embedder = SentenceTransformerEmbedder()
    documents = chromadb.PersistentClient(path).create_collection("documents", embedding_function=None)
    documents.add(ids=["1", "2", "3"], documents=FACTS, embeddings=embedder.embed(FACTS))

    # Any LangChain retriever will do here, langchain-chroma's included.
    def find(question: str) -> list[Document]:
        found = documents.query(query_embeddings=embedder.embed([question]), n_results=1)
        return [Document(text) for text in (found["documents"] or [[]])[0]]

    chat = ChatICDPO(store=path, n=4, max_tokens=60, temperature=0.7, seed=3)
    chain = RunnablePassthrough.assign(
        context=itemgetter("input") | RunnableLambda(find)
    ) | create_icdpo_chain(chat)

    question = {"input": "How long may I keep a book?"}
    for piece in (chain | StrOutputParser()).stream(question):
        print(piece, end="", flush=True)
    print()

    # The same chain shows why: each candidate and its score.
    for candidate in chain.invoke(question).response_metadata["icdpo"]["candidates"]:
        print(f"{candidate['score']:+.3f}  {candidate['text'][:80]!r}")
