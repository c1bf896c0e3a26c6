from pathlib import Path

from tests.harness.strain import Strain


def counters(folder: Path, *, cpu: str, waited: int, programs: dict[int, tuple[str, int]]) -> Strain:
    (folder / "pressure").mkdir(parents=True)
    (folder / "stat").write_text(f"cpu  {cpu} 0 0\ncpu0 1 1 1\n")
    (folder / "pressure" / "cpu").write_text(f"some avg10=1.00 avg60=0.00 avg300=0.00 total={waited}\nfull total=0\n")
    for pid, (name, ticks) in programs.items():
        (folder / str(pid)).mkdir()
        fields = ["S", "1", *["0"] * 9, str(ticks), "0", "0", "0", *["0"] * 4, "77", "0"]
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    return Strain.now(folder)


def test_tells_who_had_the_cores_between_two_moments(tmp_path: Path) -> None:
    before = counters(
        tmp_path / "1", cpu="100 0 0 100 0 0 0 0", waited=5_000_000, programs={7: ("redis", 900), 8: ("gone", 9000)}
    )
    after = counters(
        tmp_path / "2",
        cpu="150 0 0 120 5 0 0 25",
        waited=8_500_000,
        programs={7: ("redis", 1000), 9: ("new", 300)},
    )
    told = after.since(before)
    assert "idle for 25% of it, 25% was taken" in told
    assert "in 3.5 s of it" in told
    assert told.endswith("new 3.0 s, redis 1.0 s")


def test_a_kernel_that_counts_no_pressure_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 8 9 10\n")
    first = Strain.now(tmp_path)
    assert "0.0 s of it" in first.since(first)


def test_this_machine_is_read() -> None:
    assert "%" in Strain.now().since(Strain.now())
