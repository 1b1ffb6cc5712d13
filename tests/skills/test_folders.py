"""Skills as folders: what is exported comes back as it was, and an archive from a stranger does no harm."""

import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from kit.errors import InvalidRequest, RequestTooLarge
from skills import catalog, folders
from skills.cases import keeping
from skills.catalog import Content, archives, writing
from skills.models import Skill, SkillVersion
from tenants.models import AuditEntry, Tenant
from tests.factories import make_tenant

SCHEMA = {"type": "object", "properties": {"who": {"type": "string"}, "at": {"type": "array"}}, "required": ["who"]}


def content(**changes: Any) -> Content:
    basis: dict[str, Any] = {
        "description": "Greets.",
        "input_schema": SCHEMA,
        "model": "fast",
        "max_tokens": 64,
        "max_tokens_ceiling": 128,
        "template": "{{ who }}",
    }
    return Content(**{**basis, **changes})


ODD = [
    content(),
    content(system="---\nname: not front matter\n---\n\n# Heading\n\ttab: |\n"),
    content(system="a\r\nb\rc  \n\n", template="  {{ who }} \n\n", description=" padded \u2028 Ünïcödé 🦉: - #x "),
    content(system="\ufeffstarts with a mark", template="\ufeff{{ who }}"),
    content(description="--- 'quotes' \"double\" \\ back\n---\nline", system="null"),
    content(description="yes", model="1e3", policy={"fallbacks": ["null", "0x1f", "2026-01-01", "~"]}),
    content(output_schema={"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}}),
    content(cache_system=True, documents_from="at", citations=True),
    content(template="", messages_from="at", input_schema={**SCHEMA, "required": ["at"]}),
    *(catalog.read_folder(folder).content for folder in sorted(catalog.BUILTIN.glob("*/1"))),
]


@pytest.mark.parametrize("version", ODD, ids=range(len(ODD)))
def test_what_is_written_as_a_folder_reads_back_as_the_same_version(version: Content) -> None:
    tidy = version.tidied()

    packed = archives.pack(writing.write_files("greet", tidy), folder="greet")
    read = catalog.read_files(archives.unpack(packed))

    assert (read.name, read.content, read.ignored) == ("greet", tidy, ())
    assert read.content.digest() == tidy.digest()
    assert list(read.content.input_schema["properties"]) == list(tidy.input_schema["properties"])


@pytest.mark.django_db
def test_export_and_import_are_the_same_in_another_tenant_cases_included() -> None:
    acme, other = make_tenant("acme"), make_tenant("globex")
    version = catalog.create(acme, name="greet", content=content(system="Greet."), created_by="alice")
    for name in ("Ä first", "second / one"):
        keeping.save(
            version.skill, tenant=acme, name=name, given={"who": name}, expect={"contains": "Hi"}, actor="alice"
        )

    packed = archives.pack(folders.export(version, tenant=acme, actor="alice"), folder="greet")
    taken = folders.take_archive(other, packed, actor="mallory")
    again = folders.take_archive(other, packed, actor="mallory")

    assert (taken.version.number, taken.is_new, taken.version.digest) == (1, True, version.digest)
    assert (again.version.pk, again.is_new) == (taken.version.pk, False)
    kept = [(case.name, case.input, case.expect) for case in keeping.of_skill(taken.version.skill, tenant=other)]
    assert kept == [(name, {"who": name}, {"contains": "Hi"}) for name in ("Ä first", "second / one")]
    assert archives.pack(folders.export(taken.version, tenant=other, actor="m"), folder="greet") == packed
    assert AuditEntry.objects.filter(action="skill.imported", tenant=other).count() == 2
    assert AuditEntry.objects.filter(action="skill.exported", tenant=acme).count() == 1


@pytest.mark.django_db
def test_a_changed_folder_becomes_the_next_version_and_moves_no_label(tmp_path: Path) -> None:
    acme = make_tenant("acme")
    version = catalog.create(acme, name="greet", content=content(), created_by="alice")
    catalog.point(version.skill, label="production", version=1, actor="alice")

    call_command("export_skill", "acme", "greet", tmp_path, stdout=io.StringIO())
    with (tmp_path / "greet" / "SKILL.md").open("a") as file:
        file.write("Be brief.\n")
    call_command("import_skill", "acme", tmp_path / "greet", stdout=io.StringIO())

    assert list(version.skill.versions.order_by("number").values_list("number", "system")) == [
        (1, ""),
        (2, "Be brief."),
    ]
    assert version.skill.labels.get().version.number == 1
    with pytest.raises(CommandError, match="exists"):
        call_command("export_skill", "acme", "greet", tmp_path, stdout=io.StringIO())
    with pytest.raises(CommandError, match="no such tenant"):
        call_command("export_skill", "globex", "greet", tmp_path / "two", stdout=io.StringIO())


def zipped(*entries: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, raw in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = method
            archive.writestr(entry, raw)
    return packed.getvalue()


GOOD = [("greet/" + name, raw) for name, raw in writing.write_files("greet", content()).items()]


def lying_about_its_size() -> bytes:
    raw = bytearray(zipped(("SKILL.md", b"x" * 1000)))
    place = raw.index(b"PK\x01\x02") + 24
    raw[place : place + 4] = (10).to_bytes(4, "little")
    return bytes(raw)


def encrypted() -> bytes:
    raw = bytearray(zipped(("SKILL.md", b"x" * 100)))
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "not a zip": (b"PK\x03\x04 and so on", "not a zip archive"),
    "empty": (b"", "not a zip archive"),
    "cut short": (zipped(*GOOD)[:-40], "not a zip archive"),
    "up and out": (zipped(("../SKILL.md", b"")), "leads out of the folder"),
    "up inside": (zipped(("a/../../SKILL.md", b"")), "leads out of the folder"),
    "absolute": (zipped(("/etc/passwd", b"")), "leads out of the folder"),
    "a drive": (zipped(("C:/SKILL.md", b"")), "has a name that is not taken"),
    "the other slash": (zipped(("..\\SKILL.md", b"")), "has a name that is not taken"),
    "control characters": (zipped(("SKILL\x1b.md", b"")), "has a name that is not taken"),
    "an empty part": (zipped(("a//SKILL.md", b"")), "leads out of the folder"),
    "a symbolic link": (zipped(("SKILL.md", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "symbolic link"),
    "a device": (zipped(("SKILL.md", b""), mode=stat.S_IFCHR | 0o666), "symbolic link or a device"),
    "case collision": (zipped(("SKILL.md", b"a"), ("skill.MD", b"b")), "differs in case only"),
    "unicode collision": (zipped(("é.md", b"a"), ("e\u0301.md", b"b")), "differs in case only"),
    "a file that is a folder": (zipped(("a", b""), ("A/b", b"")), "is a file and a folder"),
    "a bomb": (zipped(("SKILL.md", b"\0" * 250_000)), "would grow more than"),
    "one huge file": (zipped(("SKILL.md", bytes(range(256)) * 1100)), "is over 262,144 bytes"),
    "two skills": (zipped(("a/SKILL.md", b""), ("b/SKILL.md", b"")), "must hold one skill"),
    "another packing": (zipped(("SKILL.md", b"x"), method=zipfile.ZIP_BZIP2), "packed in a way"),
    "a lie about its size": (lying_about_its_size(), "not"),
    "encrypted": (encrypted(), "is encrypted"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_name(name: str) -> None:
    raw, message = HOSTILE[name]

    with pytest.raises(InvalidRequest) as refused:
        archives.unpack(raw)

    assert message in refused.value.message
    assert len(refused.value.message) < 400


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="is there twice"):
        archives.unpack(zipped(("SKILL.md", b"a"), ("SKILL.md", b"b")))


def test_too_much_is_refused_before_it_is_unpacked() -> None:
    many = zipped(*((f"cases/{n}.json", b"{}") for n in range(archives.MOST_FILES + 1)))
    much = zipped(*((f"{n}.md", bytes(range(256)) * 1000) for n in range(70)))

    for raw in (many, much, b"x" * (archives.MOST_PACKED_BYTES + 1)):
        with pytest.raises(RequestTooLarge):
            archives.unpack(raw)


def test_any_damage_to_an_archive_is_a_typed_refusal_or_none() -> None:
    raw = zipped(*GOOD)

    for place in range(0, len(raw), 3):
        damaged = bytearray(raw)
        damaged[place] ^= 0xFF
        try:
            catalog.read_files(archives.unpack(bytes(damaged)))
        except (InvalidRequest, RequestTooLarge):
            continue


def test_what_means_nothing_here_is_named_and_left_out() -> None:
    read = catalog.read_files(archives.unpack(zipped(*GOOD, ("greet/scripts/run.py", b"x"), ("__MACOSX/._x", b"y"))))

    assert read.ignored == ("scripts/run.py",)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("SKILL.md", b'---\nname: greet\ndescription: "a\\0b"\nmetadata: {model: m, max_tokens: 1}\n---\n', "NUL"),
        (
            "SKILL.md",
            b'---\nname: greet\ndescription: "\\ud800"\nmetadata: {model: m, max_tokens: 1}\n---\n',
            "surrogate",
        ),
        (
            "SKILL.md",
            b"---\nname: greet\ndescription: d\nmetadata: {model: m, max_tokens: 1, policy: {a: 2026-01-01}}\n---\n",
            "cannot be written as JSON",
        ),
        ("SKILL.md", b"---\nname: greet\ndescription: d\nmetadata: {1: 2}\n---\n", "unknown key `1`"),
        ("schemas/input.json", b'{"type": "object", "type": "array"}', "appears twice"),
        ("schemas/input.json", b"[" * 10_000, "nested deeper"),
        ("schemas/input.json", b'{"a": "\\u0000"}', "NUL"),
        ("cases/1.json", b"[]", "must be one case"),
        ("cases/1.json", b'{"input": 5}', "The input of a case"),
        ("cases/1.json", b'{"input": {}, "expect": {"is": 1}}', "There is no expectation `is`"),
    ],
)
@pytest.mark.django_db
def test_a_folder_that_cannot_be_is_refused_and_nothing_is_written(name: str, raw: bytes, message: str) -> None:
    acme = make_tenant("acme")
    files = {**dict(GOOD), f"greet/{name}": raw}

    with pytest.raises(InvalidRequest) as refused:
        folders.take_archive(acme, zipped(*files.items()), actor="alice")

    assert message in refused.value.message
    assert not Skill.objects.exists()
    assert not SkillVersion.objects.exists()
    assert not AuditEntry.objects.filter(action__startswith="skill.").exists()


def test_a_folder_on_disk_is_not_followed_out_of_itself(tmp_path: Path) -> None:
    for name, raw in writing.write_files("greet", content()).items():
        (tmp_path / "greet" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "greet" / name).write_bytes(raw)
    (tmp_path / "secret").write_text("{{ who }} secret")
    (tmp_path / "greet" / "template.md").unlink()
    (tmp_path / "greet" / "template.md").symlink_to(tmp_path / "secret")

    with pytest.raises(InvalidRequest, match="symbolic link out of the folder"):
        catalog.read_folder(tmp_path / "greet")


@pytest.mark.django_db
def test_another_tenants_skill_of_the_same_name_is_untouched() -> None:
    acme, other = make_tenant("acme"), make_tenant("globex")
    mine = catalog.create(acme, name="greet", content=content(), created_by="alice")

    taken = folders.take_archive(other, zipped(*GOOD), actor="mallory")

    assert taken.version.skill_id != mine.skill_id
    assert Tenant.objects.get(skills=taken.version.skill) == other
    assert mine.skill.versions.count() == 1
