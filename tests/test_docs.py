"""The documents: short sentences, commands and code that work, links that lead somewhere, messages that exist."""

import ast
import configparser
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from PIL import Image

from hydrart.cli.main import main
from hydrart.resources import DEMO
from hydrart.source import pictures
from tests.support.commands import FRAME_KEYS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.joinpath("docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
README_LINES = 150
SENTENCE_WORDS = 30
DOCSTRING_WORDS = 35  # a list of arguments or files counts as one sentence
BANNED = ("is told", "not to be had", "to be had", "made good", "of which")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- (?:results|measured by [^>]*) -->.*?<!-- end[^>]*-->", re.DOTALL)


def text_of(name: str) -> str:
    return ROOT.joinpath(name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [code for found, code in FENCE.findall(text_of(name)) if found == language]


def prose(text: str) -> Iterator[str]:
    """Sentences outside of code, tables and headings. Code in a line counts as one word."""
    text = GENERATED.sub("", FENCE.sub("\n\n", text))
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    kept = ["" if line.lstrip().startswith(("|", "#")) else line for line in text.splitlines()]
    items = [re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "\n", line) for line in kept]
    for paragraph in re.split(r"\n\s*\n", "\n".join(items)):
        yield from re.split(r"(?<=[.!?])\s+(?=[A-Z0-9(\"*])", " ".join(paragraph.split()))


def test_sentences_are_found() -> None:
    text = "# Head\n\nOne `a b` two. Three\nfour.\n\n- Five.\n- Six\n\n| no | no |\n\n```sh\nno\n```\n"
    assert list(filter(None, prose(text))) == ["One CODE two.", "Three four.", "Five.", "Six"]


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= README_LINES


@pytest.mark.parametrize("name", NAMES)
def test_sentences_are_short(name: str) -> None:
    long = [sentence for sentence in prose(text_of(name)) if len(sentence.split()) > SENTENCE_WORDS]
    assert not long, long


@pytest.mark.parametrize("name", NAMES)
def test_no_worn_phrase(name: str) -> None:
    text = " ".join(text_of(name).lower().split())
    assert not [phrase for phrase in BANNED if re.search(rf"\b{phrase}\b", text)]


def long_sentences(code: str) -> list[str]:
    """Of the docstrings in the code. Indented lines are tables, formulas and examples."""
    nodes = (
        node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    texts = [
        "\n".join(line for line in (ast.get_docstring(node) or "").splitlines() if not line.startswith("    "))
        for node in nodes
    ]
    parts = (part for text in texts for sentence in prose(text) for part in re.split(r"(?<=[.;])\s+", sentence))
    return [part for part in parts if len(part.split()) > DOCSTRING_WORDS]


def test_sentences_of_docstrings_are_short() -> None:
    long = {
        str(path): found
        for path in ROOT.joinpath("hydrart").rglob("*.py")
        if (found := long_sentences(path.read_text("utf-8")))
    }
    assert not long
    assert long_sentences(f'"""{"word " * DOCSTRING_WORDS}more."""')


def test_no_worn_phrase_in_the_code() -> None:
    folders = [ROOT / name for name in ("hydrart", "tools", "tests", "examples")]
    files = [file for folder in folders for file in folder.rglob("*.py") if file != Path(__file__)]
    texts = {str(file.relative_to(ROOT)): " ".join(file.read_text("utf-8").lower().split()) for file in files}
    found = {file: phrase for file, text in texts.items() for phrase in BANNED if re.search(rf"\b{phrase}\b", text)}
    assert not found


def anchors(text: str) -> set[str]:
    """What `#...` in a link may say, as GitHub makes it of headings."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(name))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text("utf-8")), f"{name} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = text_of("docs/index.md")
    missing = [page.name for page in ROOT.joinpath("docs").glob("*.md") if f"]({page.name})" not in index]
    assert missing == ["index.md"]


def command_lines(name: str) -> Iterator[tuple[list[str], bool]]:
    """The arguments of every call of hydrart, and whether they are whole: a mention in a sentence need not be."""
    lines = [(line, True) for block in blocks(name, "sh") for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(hydrart [^`]+)`", FENCE.sub("", text_of(name)).replace("\n", " "))
    for line, whole in [*lines, *((code, False) for code in inline)]:
        words = shlex.split(line, comments=True)
        starts = [0, *(at + 1 for at, word in enumerate(words) if word in ("|", "&&"))]
        for start in starts:
            if words[start : start + 1] and words[start].rpartition("/")[2] == "hydrart":
                rest = words[start + 1 :]
                end = next((at for at, word in enumerate(rest) if word in ("|", "&&", ">")), len(rest))
                yield rest[:end], whole


def parse(group: click.Group, words: list[str]) -> None:
    """Parse the words as click would, without running the command. Raises click.UsageError."""
    with click.Context(group, info_name="hydrart", **group.context_settings) as context:
        name, command, rest = group.resolve_command(context, list(words))
        assert command is not None
        if isinstance(command, click.Group):
            if rest:
                parse(command, rest)
        else:
            command.make_context(name, list(rest), parent=context)
            if "--" in rest:  # `service install -- run ...`
                parse(main, rest[rest.index("--") + 1 :])


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_these_options(name: str) -> None:
    for words, whole in command_lines(name):
        if words[0] == "COMMAND":
            continue
        try:
            parse(main, words)
        except (click.MissingParameter, click.BadOptionUsage) as error:
            assert not whole, f"hydrart {' '.join(words)}: {error.format_message()}"
        except click.ClickException as error:
            pytest.fail(f"hydrart {' '.join(words)}: {error.format_message()}")


def test_wrong_commands_are_noticed() -> None:
    for line in ("run --no-such-option", "nothing", "service install -- run --fps many"):
        with pytest.raises(click.UsageError):
            parse(main, line.split())


def test_every_command_is_listed() -> None:
    text = text_of("docs/commands.md")
    missing = [name for name in main.commands if f"| `hydrart {name}" not in text]
    assert not missing
    listed = re.findall(r"^\| `hydrart ([\w-]+)", text, re.MULTILINE)
    assert sorted(listed) == sorted(main.commands)


@pytest.mark.parametrize("name", NAMES)
def test_python_compiles(name: str) -> None:
    for code in blocks(name, "python"):
        compile(code, name, "exec")


def test_the_tutorial_shows_a_line_of_today() -> None:
    (line,) = blocks("docs/tutorial.md", "json")
    assert list(json.loads(line)) == [*FRAME_KEYS.split(), "schema"]


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_python_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "_DEMO_PLAYS", 1)
    with Image.open(DEMO) as clip:
        clip.convert("RGB").save("photo.jpg")
    codes = blocks(name, "python")
    assert codes
    for code in codes:
        here = code.replace("Stream(0,", 'Stream("demo",').replace('"clip.mp4"', '"demo"')
        exec(compile(here, name, "exec"), {"__name__": name})


# troubleshooting: every quoted message is one that the code has


@cache
def templates() -> tuple[tuple[str, ...], ...]:
    """The literal parts of every string in the package; between two parts stands a value."""
    found: list[tuple[str, ...]] = []
    for path in (*ROOT.joinpath("hydrart").rglob("*.py"), ROOT / "setup.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [""]
                for value in node.values:
                    if isinstance(value, ast.Constant):
                        parts[-1] += str(value.value)
                    else:
                        parts.append("")
                found.append((*parts[:-1], parts[-1].rstrip()))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((node.value.rstrip(),))
    return tuple(found)


def is_in_the_code(message: str) -> bool:
    """Whether some string of the code can become the message, and each part around its <values> stands in the code."""
    pieces = [piece for piece in re.split(r"<[^>]*>", message) if piece.strip()]
    literals = [part for parts in templates() for part in parts]
    if not all(any(piece in literal for literal in literals) for piece in pieces):
        return False
    likely = (parts for parts in templates() if all(part in message for part in parts))
    whole = (parts for parts in likely if len("".join(parts).strip()) > 12)
    return any(re.fullmatch(".+?".join(map(re.escape, parts)), message, re.DOTALL) for parts in whole)


def test_messages_are_those_of_the_code() -> None:
    messages = [line for block in blocks("docs/troubleshooting.md", "text") for line in block.splitlines()]
    assert len(messages) >= 20
    assert [message for message in messages if not is_in_the_code(message)] == []


def test_other_messages_are_noticed() -> None:
    assert not is_in_the_code("there is no camera <device>: buy one")
    assert not is_in_the_code("<name> does not exist")


def test_reasons_are_those_of_the_governor() -> None:
    section = text_of("docs/governor.md").partition("\n## Reasons\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = [reason for row in rows for reason in re.findall(r"`(\w+)`", row)]
    code = ROOT.joinpath("hydrart/governor/governor.py").read_text("utf-8")
    documented = re.findall(r"`(\w+)`", code.partition('"""What decided:')[2].partition('"""')[0])
    assert sorted(listed) == sorted(documented) != []


# the map in CONTRIBUTING.md


def test_the_rooms_are_those_of_the_contract() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = config["importlinter:contract:house"]["layers"].split("\n")
    wanted = [sorted(room.strip() for room in layer.split("|")) for layer in layers if layer.strip()]
    (picture,) = [block for block in blocks("CONTRIBUTING.md", "text") if "errors" in block]
    drawn = [re.split(r"\s{2,}", line.strip(), maxsplit=1)[0] for line in picture.splitlines() if line.strip()]
    assert [sorted(room.strip() for room in layer.split("|")) for layer in drawn] == wanted, "draw it again"


def test_every_place_in_the_map_exists() -> None:
    places = re.findall(r"`((?:\w+/)+[\w.]*|\w+\.py)`", text_of("CONTRIBUTING.md"))
    assert len(places) > 30
    roots = (ROOT, ROOT / "hydrart")
    assert [place for place in places if not any(root.joinpath(place).exists() for root in roots)] == []


@pytest.mark.parametrize("name", NAMES)
def test_tools_tests_and_extras_exist(name: str) -> None:
    text = text_of(name)
    files = [f"tools/{tool}.py" for tool in re.findall(r"python -m tools\.([a-z]\w*)", text)]
    files += re.findall(r"python (tools/[\w/]+\.py)", text)
    files += re.findall(r"pytest (?:-\S+ |slow )*(tests/[\w/]+\.py)", text)
    assert [file for file in files if not ROOT.joinpath(file).exists()] == []
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = {extra for group in re.findall(r"pip install '[^'\[]*\[([\w,]+)\]'", text) for extra in group.split(",")}
    assert extras <= set(config["options.extras_require"])
