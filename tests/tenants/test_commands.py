"""The commands: the key alone on stdout, errors in one sentence."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tenants.keys import form
from tenants.models import ApiKey, AuditEntry, Budget, Tenant
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_create_tenant() -> None:
    out, err = run(
        "create_tenant",
        "--slug",
        "demo",
        "--name",
        "Demo",
        "--timezone",
        "Europe/Berlin",
        "--monthly-token-budget",
        "5",
    )

    assert out == "demo\n"
    assert "Created Demo" in err
    assert Tenant.objects.get().timezone == "Europe/Berlin"
    assert Budget.objects.get().limit_tokens == 5


def test_issue_key_prints_only_the_key_on_stdout() -> None:
    make_tenant("demo")

    out, err = run(
        "issue_key", "--tenant", "demo", "--name", "web", "--requests-per-minute", "7", "--skills", "summarize, chat",
        "--expires-in-days", "30", "--environment", "test", "--monthly-token-budget", "9",
    )  # fmt: skip

    key = ApiKey.objects.get()
    secret = out.removesuffix("\n")
    assert form.is_well_formed(secret)
    assert secret not in err
    assert (key.display, key.requests_per_minute, key.allowed_skills) == (
        form.display(secret),
        7,
        ["summarize", "chat"],
    )
    assert key.expires_at is not None
    assert Budget.objects.get(key=key).limit_tokens == 9


def test_rotate_and_revoke_name_a_key_by_its_public_id() -> None:
    make_tenant("demo")
    run("issue_key", "--tenant", "demo", "--name", "web")
    first = ApiKey.objects.get()

    out, err = run("rotate_key", "--key", first.public_id, "--overlap-hours", "2")
    run("revoke_key", "--key", first.public_id, "--reason", "leaked")

    assert form.is_well_formed(out.removesuffix("\n"))
    assert first.public_id in err
    assert ApiKey.objects.get(rotated_from=first).family_id == first.pk
    assert ApiKey.objects.get(pk=first.pk).revoked_reason == "leaked"


@pytest.mark.parametrize(
    "command",
    [
        ["create_tenant", "--slug", "Not A Slug", "--name", "x"],
        ["create_tenant", "--slug", "x", "--name", "x", "--timezone", "Nowhere"],
        ["issue_key", "--tenant", "nobody", "--name", "x"],
        ["issue_key", "--tenant", "demo", "--name", "x", "--requests-per-minute", "0"],
        ["issue_key", "--tenant", "demo", "--name", "x", "--expires-in-days", "999999999"],
        ["rotate_key", "--key", "key_unknown"],
        ["revoke_key", "--key", "key_unknown", "--reason", "x"],
    ],
)
def test_an_error_is_a_sentence_and_writes_nothing(command: list[str]) -> None:
    make_tenant("demo")
    before = (Tenant.objects.count(), ApiKey.objects.count(), AuditEntry.objects.count())

    with pytest.raises(CommandError) as raised:
        run(*command)

    assert str(raised.value).endswith(".")
    assert raised.value.returncode == 1
    assert (Tenant.objects.count(), ApiKey.objects.count(), AuditEntry.objects.count()) == before


@pytest.mark.parametrize("hours", ["25", "-1", "nan", "inf"])
def test_rotate_key_refuses_an_overlap_out_of_range(hours: str) -> None:
    make_tenant("demo")
    run("issue_key", "--tenant", "demo", "--name", "web")

    with pytest.raises(CommandError, match="0 to 24 hours"):
        run("rotate_key", "--key", ApiKey.objects.get().public_id, f"--overlap-hours={hours}")

    assert ApiKey.objects.count() == 1
