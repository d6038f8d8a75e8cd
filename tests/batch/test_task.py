"""What driver and workers tell one another comes through JSON as it was."""

import json

from mtransfer.batch.task import Record, Task, TaskItem


def test_a_task_comes_through_json() -> None:
    values = {"pair": "0:3", "sampler": {"steps": 2}, "pin": None}
    task = Task("transfer", "out", (TaskItem(3, "/a.mp4", "/b.png", values, "a/b"), TaskItem(4, "", "", {}, "c")))
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


def test_a_record_comes_through_json() -> None:
    for record in (Record(None, 1.5, ("warning: a",)), Record("full", 0.25, (), disk_full=True)):
        assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
