"""What the client suites talk about, so that each asks the same of every client."""

MODEL = "deepseek-v4-pro"
HELLO = "Say hello."
LONG = "Tell a long story.\nanswer in 4000 words"
WEATHER = {
    "type": "object",
    "properties": {"place": {"type": "string", "description": "A town."}},
    "required": ["place"],
    "additionalProperties": False,
}
ASK_WEATHER = "What is the weather in Turku?"
ASK_BOTH = "What is the weather in Turku and in Oulu?"
IN_TURKU, IN_OULU = "4 degrees, rain", "-3 degrees, snow"
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["name", "inhabitants"],
    "additionalProperties": False,
}


def both_at_once(turn):
    """A script: two calls in one turn; then a text made of the two results, each found by its call."""

    def script(body):
        said = [message for message in body["messages"] if message.get("tool_calls")]
        if not body.get("tools"):
            return turn("Nothing to call.", reasoning="There are no tools.")
        if not said:
            calls = [("get_weather", {"place": "Turku"}), ("get_weather", {"place": "Oulu"})]
            return turn("", calls, reasoning="Two places, two calls.")
        results = {message["tool_call_id"]: message["content"] for message in body["messages"] if message["role"] == "tool"}
        texts = [results[call["id"]] for call in said[0]["tool_calls"]]
        texts = [text if isinstance(text, str) else "".join(part["text"] for part in text) for text in texts]
        return turn(f"Turku: {texts[0]}; Oulu: {texts[1]}", reasoning="Both are known.")

    return script


BOTH_TOLD = f"Turku: {IN_TURKU}; Oulu: {IN_OULU}"


def weather_of(place):
    return {"Turku": IN_TURKU, "Oulu": IN_OULU}.get(place, "no weather")
