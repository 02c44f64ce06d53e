"""No cluster is opened while code of a job is imported."""

import pytest

from concurro import ApplicationNode, LocalCluster, NodeStartError
from concurro.wire.importing import importing


def test_a_cluster_at_the_top_level_of_an_imported_file_is_refused_with_the_remedy():
    with importing("job.py"), pytest.raises(NodeStartError, match=r"job\.py.*__main__"):
        LocalCluster(workers=1)


def test_an_application_is_refused_as_well():
    application = ApplicationNode("ipc:///nowhere")

    with importing("job.py"), pytest.raises(NodeStartError, match=r"job\.py"):
        application.connect()

    application.close()


def test_an_import_that_is_over_refuses_nothing_any_more():
    with importing("job.py"):
        pass

    with LocalCluster(inline=True) as cluster:
        assert cluster.master_url == ""
