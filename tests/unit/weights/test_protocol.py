from tests.support.versions import KeptVersions, keeps_its_promises


def test_versions_kept_in_one_process_come_as_the_protocols_say() -> None:
    kept = KeptVersions()
    keeps_its_promises(kept, kept)
    assert kept.acknowledged == [0, 2, 1, 5, 1]
