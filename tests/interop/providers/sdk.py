"""Asks the emulated vendors with the vendors' own Python packages.

Reads one JSON document from stdin: where the emulators are, the question, and what our own client made of it.
Writes one JSON document per case to stdout: {"case", "ok", "detail"}. A case is an answer that the package accepts
(whole, in pieces, in odd but lawful forms) or a fault for which it raises its own typed error.
"""

import json
import sys
import urllib.request

import anthropic
import ollama
import openai
import openrouter
from google import genai
from google.genai import errors as gemini_errors
from openai.types.responses import ResponseErrorEvent
from openrouter import errors as router_errors

SPEC = json.load(sys.stdin)
BASE, SCHEMA, MOST, KEY = SPEC["base"], SPEC["schema"], SPEC["max_tokens"], "sk-test-0123456789"
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}

CLAUDE = anthropic.Anthropic(
    api_key=KEY, base_url=f"{BASE}/anthropic", max_retries=0, timeout=20, _strict_response_validation=True
)


class Told(Exception):
    """An error that a package hands out as a value of its own type."""


def openai_client(path, strict=True):
    return openai.OpenAI(
        api_key=KEY, base_url=f"{BASE}{path}", max_retries=0, timeout=20, _strict_response_validation=strict
    )


OPENAI, DEEPSEEK, COMPATIBLE = openai_client("/openai/v1"), openai_client("/deepseek"), openai_client("/ollama/v1")
GEMINI = genai.Client(api_key=KEY, http_options={"base_url": f"{BASE}/gemini", "timeout": 20_000})
OLLAMA = ollama.Client(host=f"{BASE}/ollama", timeout=20)
ROUTER = openrouter.OpenRouter(api_key=KEY, server_url=f"{BASE}/openrouter/api/v1", timeout_ms=20_000, retry_config=None)


def claude(user, stream):
    reply = CLAUDE.messages.create(
        model="anthropic-1",
        max_tokens=MOST,
        system=SPEC["system"],
        messages=[{"role": "user", "content": user}],
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
        **({"stream": True} if stream else {}),
    )
    if not stream:
        return "".join(block.text for block in reply.content if block.type == "text")
    deltas = (event.delta for event in reply if event.type == "content_block_delta")
    return "".join(delta.text for delta in deltas if delta.type == "text_delta")


def completions(client, user, stream, **more):
    if stream:
        more |= {"stream": True, "stream_options": {"include_usage": True}}
    reply = client.chat.completions.create(**more)
    if not stream:
        assert reply.usage is None or reply.usage.total_tokens > 0
        return reply.choices[0].message.content or ""
    return "".join(chunk.choices[0].delta.content or "" for chunk in reply if chunk.choices)


def said(role, system, user):
    return [{"role": role, "content": system}, {"role": "user", "content": user}]


def gpt(user, stream):
    return completions(
        OPENAI,
        user,
        stream,
        model="openai-chat-1",
        messages=said("developer", SPEC["system"], user),
        max_completion_tokens=MOST,
        response_format=FORMAT,
    )


def compatible(user, stream):
    return completions(
        COMPATIBLE,
        user,
        stream,
        model="ollama-openai-1",
        messages=said("system", SPEC["system"], user),
        max_tokens=MOST,
        response_format=FORMAT,
    )


def deepseek(user, stream):
    return completions(
        DEEPSEEK,
        user,
        stream,
        model="deepseek-1",
        messages=said("system", SPEC["deepseek_system"], user),
        max_tokens=MOST,
        response_format={"type": "json_object"},
    )


def responses(user, stream):
    reply = OPENAI.responses.create(
        model="openai-responses-1",
        instructions=SPEC["system"],
        input=user,
        max_output_tokens=MOST,
        store=False,
        text={"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
        **({"stream": True} if stream else {}),
    )
    if not stream:
        if reply.error:
            raise Told(reply.error.code)
        return reply.output_text
    text = ""
    for event in reply:
        if event.type == "response.output_text.delta":
            text += event.delta
        # The package hands this one out as an event of its own type instead of raising it.
        if isinstance(event, ResponseErrorEvent):
            raise Told(event.code)
    return text


def gemini(user, stream):
    config = {
        "system_instruction": SPEC["system"],
        "max_output_tokens": MOST,
        "response_mime_type": "application/json",
        "response_json_schema": SCHEMA,
    }
    if not stream:
        return GEMINI.models.generate_content(model="gemini-1", contents=user, config=config).text or ""
    chunks = GEMINI.models.generate_content_stream(model="gemini-1", contents=user, config=config)
    return "".join(chunk.text or "" for chunk in chunks)


def router(user, stream):
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {"stream": False}
    reply = ROUTER.chat.send(
        model="openrouter-1",
        messages=said("system", SPEC["system"], user),
        max_completion_tokens=MOST,
        response_format=FORMAT,
        provider={"require_parameters": True},
        **more,
    )
    if not stream:
        return reply.choices[0].message.content or ""
    text = ""
    for chunk in reply:
        if getattr(chunk, "error", None):
            raise Told(chunk.error.message)
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text


def native(user, stream):
    reply = OLLAMA.chat(
        model="ollama-1",
        messages=said("system", SPEC["system"], user),
        format=SCHEMA,
        stream=stream,
        options={"num_ctx": SPEC["context"], "num_predict": MOST},
    )
    return "".join(part.message.content or "" for part in reply) if stream else reply.message.content


ASKERS = {
    "anthropic": claude,
    "openai-chat": gpt,
    "openai-responses": responses,
    "gemini": gemini,
    "deepseek": deepseek,
    "openrouter": router,
    "ollama": native,
    "ollama-openai": compatible,
}


def play(*faults):
    body = json.dumps({"rules": [{"faults": list(faults)}] if faults else []}).encode()
    request = urllib.request.Request(f"{BASE}/_scenario", body, {"content-type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=20).close()


def tell(case, ok, detail=""):
    print(json.dumps({"case": case, "ok": ok, "detail": str(detail)[:500]}), flush=True)


def accepts(name, what, user, stream):
    case = f"{name} accepts {what}, {'in pieces' if stream else 'whole'}"
    try:
        text = ASKERS[name](user, stream)
        answer = json.loads(text)
        tell(case, answer["nonce"] == SPEC["nonce"] and answer["verdict"] == "approve", text)
    except Exception as error:  # whatever it is, the case failed
        tell(case, False, f"{type(error).__name__}: {error}")


def raises(name, fault, kinds, stream=False, status=None):
    case = f"{name} raises its error for {fault['kind']}{' in a stream' if stream else ''}"
    play(fault)
    try:
        text = ASKERS[name]("Is this a fault?", stream)
        tell(case, False, f"no error, but {text[:200]!r}")
    except kinds as error:
        seen = getattr(error, "status_code", None) or getattr(error, "code", None)
        tell(case, status is None or seen == status, f"{type(error).__name__} {seen}: {error}")
    except Exception as error:
        tell(case, False, f"{type(error).__name__}: {error}")


# 1. The question itself: what is sent here is compared with what our client sends.
play()
for name in ASKERS:
    for stream in (False, True):
        accepts(name, "an answer", SPEC["user"], stream)

# 2. Odd but lawful forms.
ODD = {
    "gzip": [{"kind": "gzip"}],
    "thinking": [{"kind": "thinking"}],
    "signs of life": [{"kind": "keep_alive", "times": 3, "every_ms": 1}],
    "a drip": [{"kind": "drip", "bytes": 40, "every_ms": 0}],
    "no headers": [{"kind": "no_headers"}],
    "no usage": [{"kind": "no_usage"}],
}
for what, faults in ODD.items():
    play(*faults)
    for name in ASKERS:
        for stream in (False, True):
            accepts(name, what, SPEC["user"] + " Once more.", stream)

# 3. Faults. Each package has its own types for them.
limit = {"kind": "rate_limit", "wait": "seconds", "seconds": 2}
parameter = {"kind": "parameter", "name": "top_p"}


def simple(*kinds):
    return [{"kind": kind} for kind in kinds]


AUTH, QUOTA, MODEL, LONG, BUSY = simple("auth", "quota", "unknown_model", "context_too_long", "overloaded")
BROKEN = {"kind": "status", "code": 500}
STREAM_BREAKS = {"kind": "error_after", "events": 6}
IN_OK = {"kind": "error_in_ok"}

for fault, kind, status in [
    (limit, anthropic.RateLimitError, 429),
    (AUTH, anthropic.AuthenticationError, 401),
    (QUOTA, anthropic.PaymentRequiredError, 402),
    (MODEL, anthropic.NotFoundError, 404),
    (LONG, anthropic.BadRequestError, 400),
    (parameter, anthropic.BadRequestError, 400),
    ({"kind": "too_large"}, anthropic.RequestTooLargeError, 413),
    (BROKEN, anthropic.InternalServerError, 500),
    (BUSY, anthropic.OverloadedError, 529),
]:
    raises("anthropic", fault, kind, status=status)
raises("anthropic", STREAM_BREAKS, anthropic.APIStatusError, stream=True)

for name in ("openai-chat", "openai-responses", "deepseek", "ollama-openai"):
    quota = openai.APIStatusError if name in ("deepseek", "ollama-openai") else openai.RateLimitError
    for fault, kind, status in [
        (limit, openai.RateLimitError, 429),
        (QUOTA, quota, 402 if quota is openai.APIStatusError else 429),
        (MODEL, openai.NotFoundError, 404),
        (LONG, openai.BadRequestError, 400),
        (parameter, openai.BadRequestError, 400),
        (BROKEN, openai.InternalServerError, 500),
        (BUSY, openai.InternalServerError, 503),
    ]:
        raises(name, fault, kind, status=status)
    if name != "ollama-openai":
        raises(name, AUTH, openai.AuthenticationError, status=401)
    raises(name, STREAM_BREAKS, Told if name == "openai-responses" else openai.APIError, stream=True)

for fault, kind, status in [
    (limit, gemini_errors.ClientError, 429),
    (AUTH, gemini_errors.ClientError, 400),
    (QUOTA, gemini_errors.ClientError, 429),
    (MODEL, gemini_errors.ClientError, 404),
    (LONG, gemini_errors.ClientError, 400),
    (BROKEN, gemini_errors.ServerError, 500),
    (BUSY, gemini_errors.ServerError, 503),
]:
    raises("gemini", fault, kind, status=status)
raises("gemini", STREAM_BREAKS, gemini_errors.APIError, stream=True)

for fault, kind, status in [
    (limit, router_errors.TooManyRequestsResponseError, 429),
    (AUTH, router_errors.UnauthorizedResponseError, 401),
    (QUOTA, router_errors.PaymentRequiredResponseError, 402),
    (MODEL, router_errors.NotFoundResponseError, 404),
    (LONG, router_errors.BadRequestResponseError, 400),
    ({"kind": "too_large"}, router_errors.PayloadTooLargeResponseError, 413),
    ({"kind": "moderation"}, router_errors.ForbiddenResponseError, 403),
    (BROKEN, router_errors.InternalServerResponseError, 500),
    ({"kind": "status", "code": 502}, router_errors.BadGatewayResponseError, 502),
    (BUSY, router_errors.ServiceUnavailableResponseError, 503),
    ({"kind": "status", "code": 524}, router_errors.EdgeNetworkTimeoutResponseError, 524),
    ({"kind": "status", "code": 529}, router_errors.ProviderOverloadedResponseError, 529),
]:
    raises("openrouter", fault, kind, status=status)
raises("openrouter", IN_OK, router_errors.ResponseValidationError)
raises("openrouter", STREAM_BREAKS, Told, stream=True)
raises("openai-responses", IN_OK, Told)

for fault, status in [(limit, 429), (MODEL, 404), (LONG, 400), (BROKEN, 500), (BUSY, 503)]:
    raises("ollama", fault, ollama.ResponseError, status=status)
raises("ollama", STREAM_BREAKS, ollama.ResponseError, stream=True)
