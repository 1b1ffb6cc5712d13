"""What an envelope holds for a call that was refused: let go at once, unless the ledger may have admitted it."""

import pytest

from kit import clock, ids
from kit.errors import BudgetExceeded, SkillgateError, Unavailable
from skills.analyses import envelope
from skills.analyses.models import Analysis
from skills.models import SkillVersion
from tests import shipped
from tests.usage.desk import Desk, ask, lapse, look, open_desk
from usage import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk() -> Desk:
    shipped.load()
    return open_desk()


@pytest.fixture
def place(desk: Desk) -> envelope.Place:
    """The first step of an analysis under way."""
    analysis = Analysis.objects.create(
        id=ids.uuid7(),
        tenant=desk.tenant,
        key=desk.key,
        kind="batch",
        request_id="req_1",
        skill="summarize",
        version=SkillVersion.objects.order_by("pk")[0],
        state="running",
        fence=1,
        lease_until=clock.now(),
        steps_total=1,
    )
    return envelope.Place(analysis.pk, fence=1, level=0, position=0)


def booked(place: envelope.Place) -> tuple[int, int, bool]:
    """Return the tokens used and reserved, and whether the call is still open."""
    (row,) = look(
        "SELECT a.used_tokens, a.reserved_tokens, c.closed_at IS NULL AS is_open FROM skills_analysis a"
        " JOIN skills_analysiscall c ON c.analysis_id = a.id WHERE a.id = %s",
        [place.analysis_id],
    )
    return row["used_tokens"], row["reserved_tokens"], row["is_open"]


def unanswered() -> Unavailable:
    error = Unavailable("The ledger did not answer in time.")
    error.may_be_done = True
    return error


@pytest.mark.parametrize(
    "error", [BudgetExceeded("No."), Unavailable("Nobody can be reached.")], ids=["budget", "down"]
)
async def test_what_was_surely_not_admitted_is_let_go(place: envelope.Place, error: SkillgateError) -> None:
    run = ids.uuid7()
    assert await envelope.hold(place, run_id=run, tokens=100, micros=100) is not None

    await envelope.forgo(run, error)

    assert booked(place) == (0, 0, False)


@pytest.mark.parametrize("was_admitted", [True, False])
async def test_what_may_have_been_admitted_waits_for_what_the_ledger_says(
    desk: Desk, place: envelope.Place, *, was_admitted: bool
) -> None:
    run = ids.uuid7()
    assert await envelope.hold(place, run_id=run, tokens=100, micros=100) is not None
    if was_admitted:
        await ledger.reserve(desk.caller, ask(100, run_id=run))

    await envelope.forgo(run, unanswered())
    assert await envelope.reconcile(desk.tenant.pk, place.analysis_id) == 1
    assert booked(place) == (0, 100, True)

    lapse(desk)  # the process was lost before it could release it
    await ledger.sweep()
    assert await envelope.reconcile(desk.tenant.pk, place.analysis_id) == (0 if was_admitted else 1)
    assert booked(place) == ((100, 0, False) if was_admitted else (0, 100, True))
