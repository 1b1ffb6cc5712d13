"""A stream continues after the connection was lost, byte for byte, on any process."""

import time
from pathlib import Path

import httpx2
import redis
from django.conf import settings

from kit import ids
from tests.live import Live, eventually, running
from tests.skills.listening import SUMMARIZE, Heard, listen, listen_until, text_input

_RESUMABLE = {**text_input(words=60, chunk_ms=60), "resumable": True}


def _continued(live: Live, heard: Heard, after: int) -> Heard:
    return listen(live, f"/v1/streams/{heard.run_id}", Last_Event_ID=f"{heard.run_id}-{after}")


def _first(heard: Heard, count: int) -> bytes:
    return b"".join(part + b"\n\n" for part in heard.raw.split(b"\n\n")[:count])


def test_a_lost_stream_continues_byte_for_byte_with_one_call_and_one_event(everywhere: Live) -> None:
    lost = listen_until(everywhere, SUMMARIZE, _RESUMABLE, lambda heard: heard.names.count("text") >= 4)
    assert lost.data("run.started")["resumable"] is True

    rest = _continued(everywhere, lost, after=3)
    whole = listen(everywhere, f"/v1/streams/{lost.run_id}")

    assert _first(lost, 3) + rest.raw == whole.raw
    assert whole.raw.startswith(_first(lost, 4))
    assert whole.raw.endswith(b"data: [DONE]\n\n")
    assert whole.data("output")["output"] == whole.text
    assert everywhere.outcomes() == ["complete"]
    (event,) = everywhere.closed_events()
    assert event["state"] == "settled"


def test_a_stream_continues_on_another_process_while_it_goes_on(live: Live, live_uvicorn: Live) -> None:
    lost = listen_until(live, SUMMARIZE, _RESUMABLE, lambda heard: heard.names.count("text") >= 2)

    elsewhere = listen(live_uvicorn, f"/v1/streams/{lost.run_id}", Last_Event_ID=f"{lost.run_id}-2", X_API_Key=live.key)
    whole = listen(live, f"/v1/streams/{lost.run_id}")

    assert elsewhere.status == 200
    assert _first(lost, 2) + elsewhere.raw == whole.raw
    assert len(elsewhere.times) > 5, "it came in one piece"
    assert live.outcomes() == ["complete"]


def test_every_event_can_be_the_last_one_seen(live: Live) -> None:
    whole = listen(live, SUMMARIZE, {**text_input(words=12), "resumable": True})
    events = whole.raw.count(b"\n\n") - 1

    for after in range(events + 1):
        assert _first(whole, after) + _continued(live, whole, after=after).raw == whole.raw


def test_without_asking_a_stream_is_not_kept(live: Live) -> None:
    heard = listen(live, SUMMARIZE, text_input())

    answer = httpx2.get(f"{live.base_url}/v1/streams/{heard.run_id}", headers=live.headers)

    assert heard.data("run.started")["resumable"] is False
    assert answer.status_code == 404


def test_a_stream_of_others_and_an_absent_one_get_the_same_answer(live: Live) -> None:
    heard = listen(live, SUMMARIZE, {**text_input(), "resumable": True})
    other_key = live.issue_key()
    absent_id = ids.encode("run", ids.uuid7())

    def ask(run_id: str) -> tuple[int, str]:
        headers = {"X-API-Key": other_key.secret, "X-Request-ID": "same-request"}
        answer = httpx2.get(f"{live.base_url}/v1/streams/{run_id}", headers=headers)
        return answer.status_code, answer.text.replace(run_id, "RUN")

    theirs, absent, garbled = ask(heard.run_id), ask(absent_id), ask("run_x")

    assert theirs == absent == garbled
    assert theirs[0] == 404


def test_a_stream_whose_frames_have_expired_says_that_there_is_a_gap(live: Live) -> None:
    heard = listen(live, SUMMARIZE, {**text_input(), "resumable": True})
    run_id = ids.decode("run", heard.run_id)
    assert run_id is not None
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        assert connection.delete(f"skillgate:stream:{{{run_id.hex}}}") == 1

    answer = httpx2.get(f"{live.base_url}/v1/streams/{heard.run_id}", headers=live.headers)

    assert answer.status_code == 410
    assert answer.json()["error"]["type"] == "gap_error"
    assert answer.json()["error"]["run_id"] == heard.run_id


def test_a_stream_whose_beginning_was_trimmed_says_that_there_is_a_gap(live: Live) -> None:
    heard = listen(live, SUMMARIZE, {**text_input(), "resumable": True})
    run_id = ids.decode("run", heard.run_id)
    assert run_id is not None
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.xtrim(f"skillgate:stream:{{{run_id.hex}}}", minid="4-0", approximate=False)

    from_the_start = httpx2.get(f"{live.base_url}/v1/streams/{heard.run_id}", headers=live.headers)
    later = _continued(live, heard, after=3)

    assert from_the_start.status_code == 410
    assert later.status == 200
    assert _first(heard, 3) + later.raw == heard.raw


def test_an_id_of_another_stream_is_refused(live: Live) -> None:
    heard = listen(live, SUMMARIZE, {**text_input(), "resumable": True})

    for wrong in ("run_x-1", f"{heard.run_id}-", f"{heard.run_id}-1e3", f"{heard.run_id}--1", "7"):
        headers = {**live.headers, "Last-Event-ID": wrong}
        answer = httpx2.get(f"{live.base_url}/v1/streams/{heard.run_id}", headers=headers)
        assert answer.status_code == 400, wrong


def test_a_killed_server_leaves_a_gap_and_not_an_endless_wait(
    live: Live, live_environment: dict[str, str], tmp_path: Path
) -> None:
    body = {**text_input(words=400, chunk_ms=100), "resumable": True}
    with running("server", "--port", "0", log=tmp_path / "log", env=live_environment) as doomed:
        there = Live(doomed, live.emulator_url, live.tenant, live.key, live.public_id, live._blocker)
        lost = listen_until(there, SUMMARIZE, body, lambda heard: heard.names.count("text") >= 3)
        doomed.kill()
    run_id = ids.decode("run", lost.run_id)
    assert run_id is not None
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        assert 0 < connection.ttl(f"skillgate:stream:{{{run_id.hex}}}:alive") <= 30
        connection.delete(f"skillgate:stream:{{{run_id.hex}}}:alive")  # the lease lapses

    began = time.monotonic()
    rest = _continued(live, lost, after=2)

    assert time.monotonic() - began < 2
    assert rest.names[0] == "text"
    assert rest.names[-2:] == ["error", "message"]
    assert rest.data("error")["error"]["type"] == "gap_error"


def test_a_resumable_run_goes_on_when_its_client_leaves(everywhere: Live) -> None:
    listen_until(everywhere, SUMMARIZE, _RESUMABLE, lambda heard: "text" in heard.names)

    (event,) = everywhere.closed_events(within=8)

    assert event["state"] == "settled"
    assert eventually(lambda: everywhere.outcomes() == ["complete"])
