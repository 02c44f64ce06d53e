"""Without lease fencing: whatever says that it has the result of an open task is believed."""


def believe_everybody(module):
    core = module.SchedulerCore
    lease_run, take_results = core.lease_run, core.results
    given = {}

    def remember(self, tasks, slave_id):
        lease_run(self, tasks, slave_id)
        given.update((task.lease, task) for task in tasks)

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

    core.lease_run, core.results = remember, believe


PATCHES = {"concurro.scheduling.core": believe_everybody}
