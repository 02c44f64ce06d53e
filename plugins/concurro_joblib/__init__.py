"""A backend of joblib: `Parallel`, and what is built on it, on a cluster.

import concurro_joblib
concurro_joblib.register()

with joblib.parallel_config("concurrent", n_jobs=2):
    GridSearchCV(model, grid).fit(X, y)
"""

from concurro_joblib.backend import ConcurrentBackend, register

__all__ = ["ConcurrentBackend", "register"]
