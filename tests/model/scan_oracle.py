"""scan_oracle - what Python makes of the messages that test_scan wrote, against what the scanner said.

Each line of the file is: format, message in hex, then one word for each document found, its fields
separated by commas (FIELDS below; a range is offset:length, or - when it is not set; texts in hex).

Known deviations of Python's json from RFC 8259 and from the contract, evened out here:
 - NaN, Infinity and -Infinity are accepted: parse_constant refuses them
 - nesting is limited by the interpreter, not at 512: counted here
 - integers of over 4300 digits are refused: the limit is taken off
 - it reads characters, not bytes: invalid UTF-8 is carried along as surrogates, and refused here
"""
import json
import re
import sys

FIELDS = ("used", "reason", "whole", "body", "payload", "is_message", "predicate", "from", "id",
          "id_len", "quoted_payload")
SPACE = " \t\n\r"


def refuse(name):
    raise ValueError(name)


decoder = json.JSONDecoder(parse_constant=refuse)


def depth_of(text):
    depth = most = 0
    for c in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (c in "[{") - (c in "]}")
        most = max(most, depth)
    return most


def read_document(text):
    """The value at the start of text, and its text; ValueError when it is none."""
    value, n = decoder.raw_decode(text)
    text[:n].encode("utf-8")  # raises where a byte was no UTF-8
    if depth_of(text[:n]) > 512:
        raise ValueError("depth")
    return value, text[:n]


def wtf8(text):
    return text.encode("utf-8", "surrogatepass")


def judge_body(body):
    """Reason and predicate."""
    if not isinstance(body, dict):
        return "no_predicate", None
    predicate = body.get("predicate")
    if not predicate and isinstance(body.get("message"), dict):
        predicate = body["message"].get("predicate")
    if not isinstance(predicate, str) or not predicate:
        return "no_predicate", None
    try:
        predicate.encode("utf-8")
    except UnicodeEncodeError:
        return "bad_predicate", None
    return "none", predicate


def judge(value, is_bare):
    """Reason, id, from, body, predicate."""
    if is_bare:
        return (judge_body(value)[0], None, None, value, judge_body(value)[1])
    if (not isinstance(value, dict) or not isinstance(value.get("id"), str) or
            not 1 <= len(wtf8(value["id"])) <= 256 or
            "from" in value and not isinstance(value["from"], str)):
        return "no_id", None, None, None, None
    reason, predicate = judge_body(value.get("body"))
    return reason, value["id"], value.get("from"), value.get("body"), predicate


class Mismatch(Exception):
    pass


def expect(what, got, wanted):
    if got != wanted:
        raise Mismatch("%s: %r, not %r" % (what, got, wanted))


def range_text(data, field):
    if field == "-":
        return None
    offset, length = map(int, field.split(":"))
    expect("range", 0 <= offset and offset + length <= len(data), True)
    return data[offset:offset + length].decode("utf-8")


def check_value(what, data, field, value):
    text = range_text(data, field)
    expect(what + " edges", text, text.strip(SPACE))
    expect(what, repr(json.loads(text, parse_constant=refuse)), repr(value))


def check_string(what, data, field, value):
    text = range_text(data, field)
    expect(what, text if text is None else json.loads('"' + text + '"'), value)


def check_accepted(data, got, value, is_bare):
    reason, id_, from_, body, predicate = judge(value, is_bare)
    expect("reason", got["reason"], reason)
    check_string("id", data, got["id"], id_)
    expect("id_len", int(got["id_len"]), len(wtf8(id_)) if id_ is not None else 0)
    check_string("from", data, got["from"], from_)
    if reason != "none":
        return
    check_string("predicate", data, got["predicate"], predicate)
    check_value("body", data, got["body"], body)
    message = body.get("message")
    expect("is_message", got["is_message"], "1" if message else "0")
    if message:
        check_value("payload", data, got["payload"], message)
    else:
        expect("payload", got["payload"], got["body"])
    quoted = bytes.fromhex(got["quoted_payload"]).decode("utf-8")
    expect("quoted payload", json.loads(quoted), range_text(data, got["payload"]))


def check_message(is_bare, data, words):
    """Returns how many documents were accepted."""
    pos = accepted = 0
    while True:
        rest = data[pos:].decode("utf-8", "surrogateescape")
        text = rest.lstrip(SPACE)
        if not text:
            expect("documents left over", words, [])
            return accepted
        at = pos + len(rest) - len(text)
        expect("documents missing", bool(words), True)
        got = dict(zip(FIELDS, words.pop(0).split(",")))
        try:
            value, whole = read_document(text)
        except ValueError:
            end = data.find(b"\n", at) + 1 or len(data)
            expect("reason", got["reason"], "not_json")
            expect("whole", got["whole"], "-")
        else:
            length = len(whole.encode("utf-8"))
            expect("whole", got["whole"], "%d:%d" % (at, length))
            end = at + length
            end = len(data) - len(data[end:].lstrip(SPACE.encode()))
            check_accepted(data, got, value, is_bare)
            accepted += got["reason"] == "none"
        expect("used", int(got["used"]), end - pos)
        pos = end


def main():
    sys.setrecursionlimit(20000)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    accepted = messages = 0
    for line in open(sys.argv[1], encoding="ascii"):
        format_, message, *words = line.split(" ")
        data = bytes.fromhex(message)
        try:
            accepted += check_message(format_ == "bare", data, [w for w in words if w.strip()])
        except Mismatch as mismatch:
            sys.exit("%s: %r\n%s\n%s" % (format_, data, line, mismatch))
        messages += 1
    print("%d messages, %d documents with a predicate" % (messages, accepted))
    # both kinds must be there in number, or the test tells nothing
    sys.exit(0 if accepted > messages // 10 else "too few documents were accepted")


main()
