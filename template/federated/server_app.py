"""The server of federated training: sends the adapter out, and averages what sites send back.

It sees the adapter of each site. Start it as docs/federated.md says.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from exchange import read_arrays, write_adapter
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

ROUNDS = "rounds.json"
app = ServerApp()


class EverySite(FedAvg):
    """Federated averaging weighted by rows (McMahan et al. 2017, arXiv 1602.05629) of all sites.

    A round that lacks a site is an error: its mean would be that of other data.
    """

    def __init__(self, sites: int, out: Path) -> None:
        super().__init__(
            fraction_train=1.0,
            fraction_evaluate=1.0,
            min_train_nodes=sites,
            min_evaluate_nodes=sites,
            min_available_nodes=sites,
            weighted_by_key="rows",
        )
        self._sites = sites
        self._out = out
        self._rounds: list[dict[str, object]] = []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the mean of the adapters; write down the rows that they learned from."""
        found = list(replies)
        sound = [reply for reply in found if not reply.has_error()]
        if len(sound) < self._sites:
            raise RuntimeError(f"round {server_round}: {len(sound)} of {self._sites} sites replied")
        rows = sorted(int(reply.content["metrics"]["rows"]) for reply in sound)
        self._rounds.append({"round": server_round, "rows": rows})
        self._out.mkdir(parents=True, exist_ok=True)
        (self._out / ROUNDS).write_text(json.dumps(self._rounds, indent=2) + "\n", encoding="utf-8")
        return super().aggregate_train(server_round, found)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds and write the averaged adapter."""
    asked = context.run_config
    start, out = Path(str(asked["start"])), Path(str(asked["out"]))
    arrays = ArrayRecord({name: Array(array) for name, array in read_arrays(start).items()})
    strategy = EverySite(int(asked["sites"]), out)
    result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=int(asked["rounds"]))
    mean = {name: array.numpy() for name, array in result.arrays.items()}
    write_adapter(start, mean, out / "adapter")
