"""Without lease fencing: whatever says that it has the result of an open task is believed."""


def believe_everybody(module):
    core = module.SchedulerCore
    hand_out, take_results = core._hand_out, core.results
    given = {}

    def remember(self, task, slave_id, attempt):
        lease = hand_out(self, task, slave_id, attempt)
        given[lease] = task
        return lease

    def believe(self, slave_id, entries):
        slave = self.slaves.get(slave_id)
        current = [entry for entry in entries if slave is not None and entry[0] in slave.leases]
        for lease, *outcome in entries:
            task = given.get(lease)
            if slave is not None and lease in slave.leases:
                continue
            if task is not None and task.system.open.get(task.number) is task:
                self._revoke(task)
                self.scheduler.cancel(task.id)
                self._end_task(task, *outcome, (slave_id, lease))
        take_results(self, slave_id, current)

    core._hand_out, core.results = remember, believe


PATCHES = {"concurro.scheduling.core": believe_everybody}
