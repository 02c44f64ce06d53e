from concurro import ITaskSystem, LocalCluster, Task

class Square(Task):
    def __init__(self, n):
        super().__init__(f"square-{n}")
        self.n = n

    def __call__(self):
        return self.n * self.n

class SumOfSquares(ITaskSystem):
    """Add the first `n` squares."""

    def __init__(self, n: int = 1000):
        super().__init__()
        self.n = n
        self.done = 0
        self.total = 0

    def generate_tasks(self, master):
        return (Square(i) for i in range(self.n))

    def task_finished(self, master, task, result, error):
        if error is None:
            self.total += result
        self.done += 1

    def is_complete(self, master):
        return self.done == self.n

    def gather_result(self, master):
        return self.total, None

if __name__ == "__main__":
    with LocalCluster(workers=2) as cluster:
        print(cluster.run(SumOfSquares(1000)))
