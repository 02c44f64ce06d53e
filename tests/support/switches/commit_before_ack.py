"""Without commit before acknowledgement: slaves forget results before these are on disk."""


def acknowledge_at_once(module):
    answered = module.Recorder.answered

    def hasty(recorder, life, n, now, then):
        then(now)
        answered(recorder, life, n, now, lambda later: None)

    module.Recorder.answered = hasty


PATCHES = {"concurro.scheduling.recording": acknowledge_at_once}
