"""What is to be said of a job beside its status, in a sentence: why it waits, or that its worker stalls."""

from jobs.scheduling.listeners import Listeners


class Remarks:
    """Not kept: who starts the server anew finds them out anew."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._remarks: dict[str, str] = {}

    def of(self, job_id: str) -> str | None:
        return self._remarks.get(job_id)

    def say(self, job_id: str, remark: str | None) -> None:
        """Say this from now on, or nothing."""
        if self._remarks.get(job_id) == remark:
            return
        if remark is None:
            self.forget(job_id)
        else:
            self._remarks[job_id] = remark
        self._listeners.tell_change(job_id, "remark")

    def forget(self, job_id: str) -> None:
        """Say nothing any more, without telling: who moves the job tells of that."""
        self._remarks.pop(job_id, None)
