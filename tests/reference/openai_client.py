"""Asks a server of the model `tiny` with key `secret`, at the address given, by the official openai package. Prints "all is well"."""

import asyncio
import sys

import openai

address = sys.argv[1]
client = openai.OpenAI(base_url=address, api_key="secret", max_retries=0)
messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": "to be?"}]

assert [model.id for model in client.models.list()] == ["tiny"]
assert client.models.retrieve("tiny").id == "tiny"

whole = client.completions.create(model="tiny", prompt="to be", max_tokens=12, temperature=0, logprobs=2)
assert whole.object == "text_completion" and whole.choices[0].finish_reason == "length"
assert whole.usage.completion_tokens == 12 and whole.usage.total_tokens == whole.usage.prompt_tokens + 12
assert len(whole.choices[0].logprobs.tokens) == 12 and len(whole.choices[0].logprobs.top_logprobs[0]) == 2
streamed = client.completions.create(model="tiny", prompt="to be", max_tokens=12, temperature=0, stream=True)
assert "".join(chunk.choices[0].text for chunk in streamed) == whole.choices[0].text

chat = client.chat.completions.create(
    model="tiny", messages=messages, max_completion_tokens=9, temperature=0, logprobs=True, top_logprobs=3
)
assert chat.choices[0].message.role == "assistant" and chat.usage.completion_tokens == 9
assert len(chat.choices[0].logprobs.content) == 9 and len(chat.choices[0].logprobs.content[0].top_logprobs) == 3
chunks = list(
    client.chat.completions.create(
        model="tiny", messages=messages, max_tokens=9, temperature=0, stream=True, stream_options={"include_usage": True}
    )
)
assert chunks[0].choices[0].delta.role == "assistant"
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == chat.choices[0].message.content
assert chunks[-1].choices == [] and chunks[-1].usage == chat.usage
with client.chat.completions.stream(model="tiny", messages=messages, max_tokens=9, temperature=0) as stream:
    stream.until_done()
    assert stream.current_completion_snapshot.choices[0].message.content == text

several = client.completions.create(model="tiny", prompt=["to be", "the cat"], n=2, seed=3, max_tokens=5, extra_body={"top_k": 40})
assert [choice.index for choice in several.choices] == [0, 1, 2, 3]


def fails(kind, **arguments):
    try:
        client.chat.completions.create(**{"model": "tiny", "messages": messages, "max_tokens": 3, **arguments})
    except kind as error:
        return error
    raise AssertionError(f"{arguments} were taken")


assert fails(openai.BadRequestError, temperature=-1).param == "temperature"
assert fails(openai.BadRequestError, tools=[{"type": "function", "function": {"name": "f"}}]).param == "tools"
assert fails(openai.NotFoundError, model="other").code == "model_not_found"
try:
    openai.OpenAI(base_url=address, api_key="wrong", max_retries=0).models.list()
    raise AssertionError("a wrong key was taken")
except openai.AuthenticationError as error:
    assert error.code == "invalid_api_key"


async def at_once():
    async with openai.AsyncOpenAI(base_url=address, api_key="secret", max_retries=0) as client:
        ask = lambda: client.completions.create(model="tiny", prompt="to be", max_tokens=12, temperature=0)
        answers = await asyncio.gather(*(ask() for _ in range(16)))
        assert all(answer.choices[0].text == whole.choices[0].text for answer in answers)


asyncio.run(at_once())
print("all is well")
