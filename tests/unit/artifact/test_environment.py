"""The contract of environment.json: written as a JSON Schema, read strictly, checked without showing a value."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Dict

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployable_zipfile import loadenv
from deployable_zipfile.artifact import value_types
from deployable_zipfile.artifact.environment import Contract, Variable, declared
from deployable_zipfile.errors import ArtifactError
from tests.support.depth import sampled

FULL: Dict[str, Any] = {
    "SECRET_KEY": {"secret": True, "description": "Django's."},
    "DATABASE_URL": {"type": "url", "default": "sqlite:////srv/x.sqlite3"},
    "STAGE": {"choices": ["dev", "live"]},
    "WORKERS": {"type": "integer", "required": False},
    "CODE": {"pattern": "^[A-Z]{2}[0-9]+$", "example": "AB1"},
    "HOSTS": {"type": "list"},
    "EXTRA": {"type": "json", "required": False},
    "DATA": {"type": "path", "required": False},
    "DEBUG": {"type": "boolean", "default": "false"},
    "RATE": {"type": "number", "default": "0.5"},
    "PORT": {"type": "integer", "required": False, "minimum": 1, "maximum": 65535},
}
GOOD = {"SECRET_KEY": "x", "STAGE": "dev", "CODE": "AB12", "HOSTS": '["a"]'}


def test_what_is_written_is_read_back() -> None:
    contract = declared(FULL)
    text = contract.to_json("site_one")
    assert Contract.from_json(text, "site_one") == contract
    assert Contract.from_json(text, "site_one").to_json("site_one") == text


def test_the_schema_is_a_valid_one_of_2020_12() -> None:
    schema = json.loads(declared(FULL).to_json("site_one"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["CODE", "HOSTS", "SECRET_KEY", "STAGE"]


VALUES = st.one_of(
    st.sampled_from(
        ["", "1", "-7", "1.5", "1e9", "true", "NO", "/srv", "srv", "dev", "AB1", "AB", "a\nb", "[]", "{", " "]
    ),
    st.text("ab1-./ {[é", max_size=6),
)


@given(st.dictionaries(st.sampled_from(sorted(FULL)), VALUES))
def test_another_validator_says_the_same_of_all_that_a_schema_can_say(given: Dict[str, str]) -> None:
    contract = declared(FULL)
    validator = jsonschema.Draft202012Validator(json.loads(contract.to_json("site_one")))
    beyond = {"url", "list", "json"}  # their form is more than a pattern
    ranged = {"PORT"}  # "minimum" does not apply to a string
    ours = {name for name, _ in contract.problems(given)}
    theirs = {error.path[0] if error.path else error.message.split("'")[1] for error in validator.iter_errors(given)}
    assert ours >= theirs
    assert ours - theirs <= {name for name in FULL if FULL[name].get("type") in beyond} | ranged


def test_all_problems_come_at_once_and_no_value_with_them() -> None:
    canary = "canary-of-this-test"
    wrong = {name: canary for name in FULL if name not in ("SECRET_KEY", "HOSTS")}
    found = dict(declared(FULL).problems(dict(wrong, HOSTS="[1]")))
    assert set(found) == set(FULL)
    assert found["SECRET_KEY"] == "is missing"
    assert canary not in str(found)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("integer", ["0", "-5", "+12", "9" * 40], ["1.5", "x", " 1", "1\n", "٣", "9" * 41, "1_0", "0x1"]),
        ("number", ["1", "1.", ".5", "-1e-9"], ["nan", "inf", "1,5", "e5", ".", "1e99999"]),
        ("boolean", ["true", "False", "1", "0", "yes", "OFF"], ["2", "y", "truee", "none"]),
        ("url", ["https://x/", "sqlite:////a", "sqlite://:memory:", "postgres://u:p@h:5432/d", "file:///x"],
         ["x", "//x", "http:", "http://x:port/", "http://a b", "http://x\n", "http://[::1", "http://x:99999"]),
        ("path", ["/", "/srv/x"], ["srv", "./x", "~/x", "/a\nb"]),
        ("list", ["a", "a,b", '["a", "b"]', "[]"], ["a,,b", "[1]", "[", "[{}]", ","]),
        ("json", ["{}", "1", "null", '"x"'], ["{", "x", "[" * 100_000]),
    ],
)  # fmt: skip
def test_each_type_takes_its_texts_and_no_other(kind: str, good: Any, bad: Any) -> None:
    variable = Variable("KEY", kind)
    assert [one for one in good if variable.fault(one)] == []
    assert [one for one in bad if not variable.fault(one)] == []


RANGES: Dict[str, Any] = {
    "both": ({"type": "integer", "minimum": 1, "maximum": 64}, ["1", "64", "+7", "007"], ["0", "65", "-1", "9" * 40]),
    "at least": ({"type": "integer", "minimum": -5}, ["-5", "0", "9" * 40], ["-6", "-" + "9" * 40]),
    "at most": ({"type": "integer", "maximum": 0}, ["0", "-0", "-1"], ["1", "+1"]),
    "one value": ({"type": "integer", "minimum": 3, "maximum": 3}, ["3"], ["2", "4"]),
    "beyond a float": ({"type": "integer", "maximum": 2**53}, [str(2**53)], [str(2**53 + 1)]),
    "number": ({"type": "number", "minimum": 0, "maximum": 1}, ["0", "1", "1.", ".5", "1e-9"], ["-.1", "1.01", "2e0"]),
    "fraction": ({"type": "number", "minimum": 0.1, "maximum": 0.3}, ["0.1", "0.3", "3e-1"], ["0.09", "0.31", "1e308"]),
    "with a pattern": ({"type": "integer", "minimum": 10, "pattern": "[0-9]+0"}, ["10", "200"], ["0", "15"]),
}


@pytest.mark.parametrize("kind", RANGES)
def test_a_number_is_within_its_range_which_is_told_without_the_value(kind: str) -> None:
    options, good, bad = RANGES[kind]
    contract = declared({"KEY": options})
    assert [value for value in good if contract.problems({"KEY": value})] == []
    assert [value for value in bad if not contract.problems({"KEY": value})] == []
    [(name, fault)] = contract.problems({"KEY": "-" + "8" * 39}) or contract.problems({"KEY": "8" * 39})
    assert name == "KEY"
    assert fault.startswith(("must be from ", "must be at least ", "must be at most ", "must match"))
    assert "88" not in fault
    text = contract.to_json("site_one")
    assert Contract.from_json(text, "site_one") == contract
    assert {key: json.loads(text)["properties"]["KEY"].get(key) for key in ("minimum", "maximum")} == {
        key: options.get(key) for key in ("minimum", "maximum")
    }


def test_a_value_that_is_no_number_gets_the_advice_of_its_type() -> None:
    contract = declared({"PORT": {"type": "integer", "minimum": 1}, "RATE": {"type": "number", "maximum": 1}})
    assert contract.problems({"PORT": "x", "RATE": "nan"}) == [
        ("PORT", "must be an integer"),
        ("RATE", "must be a number"),
    ]
    assert contract.problems({"PORT": "", "RATE": "1"}) == [("PORT", "must not be empty")]


@pytest.mark.parametrize("options", [RANGES[kind][0] for kind in RANGES if kind != "with a pattern"])
def test_an_example_is_within_its_range(options: Any) -> None:
    contract = declared({"KEY": options})
    assert contract.problems(json.loads(contract.example("json"))) == []
    assert contract.variables["KEY"].range in contract.example("env").splitlines()[0]


def test_an_empty_value_is_none_of_a_required_variable_and_any_of_an_optional_one() -> None:
    for kind in value_types.TYPES:
        assert Variable("KEY", kind).fault("") == "must not be empty"
        assert Variable("KEY", kind, required=False).fault("") == ""


@pytest.mark.parametrize("kind", sampled(value_types.TYPES, ["url"]))
def test_a_value_of_a_megabyte_takes_no_long_time(kind: str) -> None:
    began = time.process_time()
    for value in (
        "a" * 2**20,
        "1" * 2**20,
        "[" * 2**20,
        '["' * 2**19,
        "," * 2**20,
        "/" * 2**20,
        "http://" + "[" * 2**20,
    ):
        Variable("KEY", kind).fault(value)
        Variable("KEY", kind, pattern="(a|a)*(1+)*").fault(value)
    assert time.process_time() - began < 120


@pytest.mark.parametrize(
    ("value", "good"), [("1e308", True), ("-1e308", True), ("1e309", False), ("-1e9999", False), ("9" * 40, True)]
)
def test_a_number_that_no_float_can_hold_is_refused(value: str, good: bool) -> None:
    assert bool(Variable("KEY", "number").fault(value)) is not good


@pytest.mark.deep
def test_many_unknown_names_take_no_time() -> None:
    contract = declared({f"SOME_VARIABLE_{number}": {"required": False} for number in range(300)})
    began = time.process_time()
    contract.hints({f"SOME_VARIABEL_{number}": "" for number in range(50_000)})
    assert time.process_time() - began < 60


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "[1, NaN]", '{"a": Infinity}'])
@pytest.mark.parametrize("kind", ["json", "number"])
def test_what_is_no_number_anywhere_is_refused(value: str, kind: str) -> None:
    assert Variable("KEY", kind).fault(value)


@pytest.mark.parametrize(
    ("name", "known", "hinted"),
    [
        ("SECRT_KEY", "SECRET_KEY", True),
        ("SECRETT_KEY", "SECRET_KEY", True),
        ("SECERT_KEY", "SECRET_KEY", True),
        ("SECRET-KEY", "SECRET_KEY", True),
        ("secret_key", "SECRET_KEY", True),
        ("SECRET_KEYS", "SECRET_KEY", True),
        ("ECRET_KEY", "SECRET_KEY", True),
        ("SECERT_KEYS", "SECRET_KEY", True),
        ("secretkye", "SECRET_KEY", True),
        ("DATABSE_ULR", "DATABASE_URL", True),
        ("PROT", "PORT", True),
        ("SECRET", "SECRET_KEY", False),
        ("SCERTE_KEY", "SECRET_KEY", False),
        ("AB", "AC", False),
        ("DATABASE_URL", "SECRET_KEY", False),
    ],
)
def test_an_unknown_name_is_allowed_and_one_slip_gets_a_hint(name: str, known: str, hinted: bool) -> None:
    contract = declared({known: {"required": False}})
    assert contract.problems({name: "x"}) == []
    assert contract.hints({name: "x"}) == ([(name, known)] if hinted else [])
    assert contract.hints({name: "x", known: "y"}) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (1, "must be a table"),
        ({"type": "text"}, "must be one of string"),
        ({"type": ["string"]}, "must be one of string"),
        ({"required": "yes"}, "must be true or false"),
        ({"requird": True}, "is not known"),
        ({"pattern": "(?=a)"}, "pattern has"),
        ({"pattern": "a" * 501}, "pattern has 501 characters"),
        ({"pattern": 5}, "must be a text"),
        ({"choices": []}, "list of 1 to"),
        ({"choices": "abc"}, "list of 1 to"),
        ({"choices": ["a", "a"]}, "list of 1 to"),
        ({"choices": [1]}, "list of 1 to"),
        ({"choices": ["a"], "pattern": "a"}, "either a pattern or choices"),
        ({"type": "integer", "default": "x"}, "its own default must be an integer"),
        ({"type": "integer", "default": 5}, "must be a text"),
        ({"type": "integer", "minimum": 1, "default": "0"}, "its own default must be at least 1"),
        ({"type": "number", "maximum": 1, "example": "1.5"}, "its own example must be at most 1"),
        ({"minimum": 1}, "only an integer or a number"),
        ({"type": "url", "maximum": 1}, "only an integer or a number"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "its minimum is above its maximum"),
        ({"type": "integer", "minimum": 1.5}, "must be integers"),
        ({"type": "integer", "minimum": 1, "choices": ["1"]}, "either choices or"),
        ({"type": "integer", "minimum": "1"}, "minimum must be a number"),
        ({"type": "integer", "minimum": True}, "minimum must be a number"),
        ({"type": "number", "maximum": float("nan")}, "maximum must be a number from -1e40 to 1e40"),
        ({"type": "number", "maximum": float("inf")}, "maximum must be a number"),
        ({"type": "integer", "maximum": 10**41}, "maximum must be a number"),
        ({"secret": True, "default": "x"}, "a secret has no default"),
        ({"secret": True, "example": "x"}, "a secret has no default"),
        ({"description": "x" * 1001}, "at most 1000"),
        ({"description": "\x1b[2J"}, "cannot be printed"),
        ({"example": "a\nb"}, "cannot be printed"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(options: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        declared({"KEY": options})


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "Ä", "A" * 201, "A\n", "$A", "\x1b"])
def test_a_name_that_no_variable_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        declared({name: {}})


@pytest.mark.parametrize("table", [[], "x", {f"K{n}": {} for n in range(301)}])
def test_a_table_that_is_none_is_refused(table: Any) -> None:
    with pytest.raises(ValueError, match="must be a table"):
        declared(table)


def changed(**parts: Any) -> bytes:
    document = json.loads(declared(FULL).to_json("site_one"))
    document.update(parts)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 1000,
        b"[" * 100_000,
        b"null\n",
        b"{}\n",
        b'{"properties":5}\n',
        b'{"properties":{"A":5}}\n',
        b'{"properties":{"A":{"x-deployable-zipfile":{"pattern":"(?=a)"}}}}\n',
        b'{"properties":{"A":{"x-deployable-zipfile":{"pattern":' + b'"' + b"(a+)+" * 50_000 + b'"}}}}\n',
        declared(FULL).to_json("another"),
        declared(FULL).to_json("site_one") + b"\n",
        declared(FULL).to_json("site_one").replace(b":", b": ", 1),
        changed(required=[]),
        changed(more=1),
        changed(additionalProperties=False),
        changed(properties={}),
        changed(title="\x1b[2J"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_schema_that_this_tool_did_not_write_is_refused(text: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"environment\.schema\.json"):
        Contract.from_json(text, "site_one")


def test_an_example_of_environment_json_can_be_loaded_and_lacks_only_what_is_secret(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text(declared(FULL).example("json"))
    found = loadenv.read_environment(str(path))
    assert declared(FULL).problems(found) == []
    assert found["SECRET_KEY"] == "CHANGE-ME"
    assert "DEBUG" not in found


def test_an_example_of_an_env_file_describes_each_variable() -> None:
    lines = declared(FULL).example("env").splitlines()
    assert lines[lines.index("SECRET_KEY=CHANGE-ME") - 2 :][:2] == ["# Django's.", "# string; required; secret"]
    assert "# url; optional; default: sqlite:////srv/x.sqlite3" in lines
    assert "# DEBUG=false" in lines
    assert 'HOSTS="[\\"one\\", \\"two\\"]"' in lines


def test_good_values_are_good() -> None:
    assert declared(FULL).problems(GOOD) == []


def test_a_hostile_schema_is_read_and_used_in_bounded_time() -> None:
    """300 of the most expensive patterns: reading compares nothing with them, and each value costs a bounded part."""
    pattern = "([" + "".join(chr(200 + 2 * n) for n in range(200)) + "a]?){150}"
    contract = Contract({f"K{n:03}": Variable(f"K{n:03}", pattern=pattern, required=True) for n in range(300)})
    text = contract.to_json("site_one")
    began = time.process_time()
    read = Contract.from_json(text, "site_one")
    assert time.process_time() - began < 60
    few = dict(list(read.variables.items())[:10])
    began = time.process_time()
    found = Contract(few).problems(dict.fromkeys(few, "a" * 5000))
    assert {why for _, why in found} == {"is too long to be compared with its pattern"}
    assert time.process_time() - began < 60
