"""Without ending a job whose master process is gone."""


def go_on(module):
    connect = module.TaskManager.connect

    def connect_as_others(*arguments, essential=False, **options):
        return connect(*arguments, **options)

    module.TaskManager.connect = connect_as_others


PATCHES = {"concurro_tagqueue.task_manager": go_on}
