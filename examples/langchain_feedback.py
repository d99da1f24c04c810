"""Feedback with LangChain: an answer, a correction, and an answer in the style of the correction."""

import tempfile

from langchain_core.messages import HumanMessage

from icdpo_chains import DemonstrationStore
from langchain_icdpo import ChatICDPO, record_feedback

QUESTIONS = [
    (
        "Where is my parcel?",
        "Ahoy! Tell me yer number, and I shall chart where yer parcel sails.",
        "No idea.",
    ),
    ("Can I return these shoes?", "Aye! Within thirty days ye may send them back, matey.", "See the terms."),
]

with tempfile.TemporaryDirectory() as directory:
    # What two users thought, in words of the owner of a shop for pirates.
    for question, chosen, rejected in QUESTIONS:
        record_feedback(directory, question, chosen=chosen, rejected=rejected)

    chat = ChatICDPO(store=directory, n=4, max_tokens=40, seed=2)
    question = HumanMessage("Do you sell gift cards?")
    answer = chat.invoke([question])
    print("before:", answer.text)

    # The user corrects the answer; it becomes the rejected one of a new demonstration.
    recorded = record_feedback(
        directory, [question, answer], chosen="Aye! Gift cards of any size, from ten doubloons."
    )

    again = chat.invoke("Do you sell gift wrapping?")
    print("after: ", again.text)
    print("shown the correction:", recorded.id in again.response_metadata["icdpo"]["demonstrations"])

    with DemonstrationStore(directory, read_only=True) as store:
        print(len(store), "demonstrations")
