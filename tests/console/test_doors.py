"""Ways in that must not be there: Django's own pages that nobody needs, and a session that outlives its membership."""

import pytest

from tenants.models import Membership
from tests.console.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "address",
    [
        "r/1/1/",
        "autocomplete/?app_label=tenants&model_name=apikey&field_name=tenant&term=a",
        "search/?s=a",
        "tenants/apikey/1/delete/",
        "tenants/apikey/1/history/",
        "tenants/apikey/1/change/",
        "tenants/apikey/add/",
        "tenants/tenant/",
        "tenants/user/",
        "tenants/membership/",
        "tenants/budget/",
        "auth/group/",
        "usage/usageevent/",
    ],
)
def test_doors_that_nobody_needs_do_not_exist(cast: Cast, address: str) -> None:
    assert cast.client("alice").get(f"/admin/{address}").status_code == 404


def test_someone_removed_is_out_with_the_next_request(cast: Cast) -> None:
    client = cast.client("bob")
    assert client.get("/admin/").status_code == 200

    Membership.objects.filter(user=cast.users["bob"]).delete()

    assert client.get("/admin/").status_code == 302
