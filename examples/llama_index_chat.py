"""A chat engine with LlamaIndex: memory, a system prompt, and streams whose answer is the best of n."""

from llama_index.core.chat_engine import SimpleChatEngine

from llama_index_icdpo import ICDPOLLM

llm = ICDPOLLM(n=4, max_tokens=50, seed=5)
engine = SimpleChatEngine.from_defaults(llm=llm, system_prompt="You help the people of a small town.")

for message in ["My neighbour is too loud at night.", "How do I tell him without a fight?"]:
    print("you:", message)
    for piece in engine.stream_chat(message).response_gen:
        print("it: ", piece)
print(len(engine.chat_history), "messages in memory")
