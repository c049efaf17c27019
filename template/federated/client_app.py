"""A site of federated training: its rows stay, its adapter and the number of rows leave.

Start it as docs/federated.md says.
"""

import functools
import shlex
from collections.abc import Callable
from pathlib import Path

from exchange import Arrays, train_site, write_adapter
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

Handler = Callable[[Message, Context], Message]
app = ClientApp()


def discreet(handler: Handler) -> Handler:
    """Keep the message of an error at the site: Flower would send it, and it may quote a value."""

    @functools.wraps(handler)
    def handle(message: Message, context: Context) -> Message:
        try:
            return handler(message, context)
        except Exception as error:
            name = type(error).__name__
        raise RuntimeError(f"{name} at this site: see runs/federated there")

    return handle


def received(message: Message) -> Arrays:
    """Return the weights that the server sent."""
    return {name: array.numpy() for name, array in message.content["arrays"].items()}


def place(context: Context, message: Message) -> tuple[Path, Path, Path]:
    """Return project and start adapter of this site, and the folder of the round."""
    project = Path(str(context.node_config["project"])).resolve()
    start = Path(str(context.node_config["start"])).resolve()
    number = int(message.content["config"]["server-round"])
    return project, start, project / "runs" / "federated" / f"round-{number:03d}"


@app.train()
@discreet
def train(message: Message, context: Context) -> Message:
    """Train the adapter that came on the rows of this site."""
    project, start, folder = place(context, message)
    adapter = write_adapter(start, received(message), folder / "received")
    settings = shlex.split(str(context.node_config.get("settings", "")))
    python = str(context.node_config["python"])
    arrays, rows = train_site(project, python, adapter, folder, settings)
    reply = {
        "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
        "metrics": MetricRecord({"rows": rows}),
    }
    return Message(content=RecordDict(reply), reply_to=message)


@app.evaluate()
@discreet
def keep(message: Message, context: Context) -> Message:
    """Keep the mean of the round at this site, for `scripts/evaluate.py` there; no score leaves."""
    _, start, folder = place(context, message)
    write_adapter(start, received(message), folder / "mean" / "adapter")
    return Message(content=RecordDict({"metrics": MetricRecord({"rows": 1})}), reply_to=message)
