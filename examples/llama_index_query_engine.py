"""A query engine with LlamaIndex: documents in Chroma, answers chosen by the instant scorer."""

import tempfile

import chromadb
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.vector_stores.chroma import ChromaVectorStore

from llama_index_icdpo import ICDPOLLM, ICDPOEmbedding, ICDPOSynthesizer, InstantScoreRerank

FACTS = [
    "The library opens at nine in the morning and closes at six in the evening. On Sundays it is closed.",
    "A library card is free for everybody who lives in the town. Bring a letter that shows your address.",
    "Books may be kept for four weeks. A book that comes back late costs ten cents a day.",
]

with tempfile.TemporaryDirectory() as directory:
    collection = chromadb.PersistentClient(directory).create_collection("documents", embedding_function=None)
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in FACTS],
        storage_context=StorageContext.from_defaults(
            vector_store=ChromaVectorStore(chroma_collection=collection)
        ),
        embed_model=ICDPOEmbedding(),  # the model that embeds demonstrations; any other will do
    )

    llm = ICDPOLLM(n=4, max_tokens=60, temperature=0.7, seed=3)
    engine = index.as_query_engine(
        llm=llm,
        similarity_top_k=3,
        node_postprocessors=[InstantScoreRerank(icdpo=llm.core, top_n=1)],
        response_synthesizer=ICDPOSynthesizer(llm),
    )
    response = engine.query("How long may I keep a book?")
    print(response)
    print("from:", [item.node.get_content()[:40] for item in response.source_nodes])
    for candidate in (response.metadata or {})["icdpo"]["candidates"]:
        print(f"{candidate['score']:+.3f}  {candidate['text'][:80]!r}")
