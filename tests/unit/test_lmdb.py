"""Databases: written whole or not at all, refused with a sentence when they are damaged."""

import os
import threading
from pathlib import Path

import lmdb
import pytest

from jobs.errors import BadDatabase, EnvironmentFault
from jobs.storage.database import Database, DatabaseWriter, count_entries, open_database
from jobs.storage.datum import array_datum
from tests.unit.storage_jobs import picture, save_database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """25 records, labels 0, 1, 2 in turn."""
    return save_database(tmp_path / "db", [array_datum(picture(number), number % 3) for number in range(25)])


def test_records_come_in_the_order_of_the_bytes_of_their_keys(folder: Path) -> None:
    with open_database(folder) as database:
        assert len(database) == 25
        assert [record.key for record in database.records(0, 4)] == ["0", "1", "10", "11"]
        assert database.record(2).label == 1
        with pytest.raises(IndexError):
            database.record(25)


def test_a_page_of_one_label(folder: Path) -> None:
    with open_database(folder) as database:
        page = list(database.records(2, 3, label=2))
        assert [record.label for record in page] == [2, 2, 2]
        assert [record.key for record in page] == ["17", "2", "20"]
        assert [database.record(record.index).key for record in page] == ["17", "2", "20"]
        assert not list(database.records(0, 9, label=17))


def test_keys_that_name_the_label_are_enough_to_find_it(tmp_path: Path) -> None:
    keys = [b"%08d_%d" % (number, number % 12) for number in range(24)]
    values = [array_datum(picture(number), number % 12) for number in range(24)]
    with open_database(save_database(tmp_path / "db", values, keys)) as database:
        assert [record.index for record in database.records(0, 9, label=1)] == [1, 13]
        assert [record.label for record in database.records(0, 9, label=11)] == [11, 11]


def test_threads_read_one_database_at_one_time(folder: Path) -> None:
    together = threading.Barrier(4)
    counts: list[int] = []

    def read() -> None:
        with open_database(folder) as database:
            together.wait(10)
            counts.append(sum(1 for _ in database.items()))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [25] * 4


def test_reading_writes_nothing(folder: Path) -> None:
    folder.chmod(0o555)
    with open_database(folder) as database:
        database.first()
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]


def test_a_database_grows_past_its_first_map(tmp_path: Path) -> None:
    with DatabaseWriter(tmp_path / "db", first_map_size=1 << 16) as writer:
        for start in range(0, 200, 50):
            writer.put([(b"%08d" % number, b"x" * 5000) for number in range(start, start + 50)])
    assert count_entries(tmp_path / "db") == writer.entries == 200


def test_others_can_read_it(folder: Path) -> None:
    with lmdb.open(str(folder)) as environment, environment.begin() as transaction:
        assert transaction.stat()["entries"] == 25


def test_nothing_is_left_of_a_database_that_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), DatabaseWriter(tmp_path / "db") as writer:
        writer.put([(b"0", b"x")])
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_told_with_its_numbers(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        import resource  # noqa: PLC0415
        import signal  # noqa: PLC0415

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            with DatabaseWriter(tmp_path / "db") as writer:
                writer.put([(b"0", b"x" * 1_000_000)])
        except EnvironmentFault as error:
            os.write(writes, str(error).encode())
        os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    said = os.read(reads, 10_000).decode()
    assert "could not be written" in said
    assert "bytes are free" in said
    assert not list(tmp_path.iterdir())


def refusal(folder: Path) -> str:
    with pytest.raises(BadDatabase) as refused, open_database(folder):
        pass
    return str(refused.value)


def test_a_folder_without_data_is_no_database(tmp_path: Path) -> None:
    assert "no file data.mdb" in refusal(tmp_path)
    assert "There is no folder" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"garbage", b"garbage" * 10_000])
def test_garbage_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    assert "is no LMDB" in refusal(tmp_path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_cut_off_database_is_refused_before_it_kills_the_process(folder: Path, keep: float) -> None:
    path = folder / "data.mdb"
    os.truncate(path, int(path.stat().st_size * keep))
    said = refusal(folder)
    assert "is cut off" in said or "is no LMDB" in said


def test_an_empty_database_is_refused(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path / "db")).close()
    assert "is empty" in refusal(tmp_path / "db")


def test_a_record_that_is_no_datum_is_named(tmp_path: Path) -> None:
    with open_database(save_database(tmp_path / "db", [b"\xff\xff"], [b"odd"])) as database:
        first: Database = database
        with pytest.raises(BadDatabase, match=r'Record "odd" of the database .* cannot be parsed'):
            first.first().image()
