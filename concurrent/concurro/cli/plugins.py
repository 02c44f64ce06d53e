"""`concurrent plugins`: list what is offered, check its contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concurro.cli.fields import aligned, configuration_errors
from concurro.cli.printing import examples, json_option, painted, print_json
from concurro.errors import ContractError
from concurro.kernel import Environment, OfferState

if TYPE_CHECKING:
    from concurro.kernel import Offer

_config_option = click.option(
    "--config", "config_path", metavar="PATH", help="A concurrent.toml, or the folder that holds it."
)
_plugin_option = click.option(
    "--plugins",
    "--plugin",
    "plugins",
    metavar="PATH",
    multiple=True,
    help="A file or folder with components; may be repeated.",
)


@click.group("plugins", epilog=examples("concurrent plugins list", "concurrent plugins check"))
def plugins_group() -> None:
    """List and check components."""


@plugins_group.command("list", epilog=examples("concurrent plugins list", "concurrent plugins list --plugins mine.py"))
@_config_option
@_plugin_option
@click.option("--strict-plugins", is_flag=True, help="End with 2 when a plugin is broken.")
@json_option
def list_plugins(config_path: str | None, plugins: tuple[str, ...], *, strict_plugins: bool, as_json: bool) -> None:
    """List every component, its state and where it comes from."""
    with configuration_errors():
        environment = Environment(config_path, plugins=plugins, strict_plugins=strict_plugins)
        offers = environment.offers()
        warnings = environment.warnings
    if as_json:
        listed = [_record(offer) for offer in offers]
        print_json({"components": listed, "warnings": warnings})
        return
    rows = [
        (offer.interface_name, offer.name, offer.state.value, offer.factory, offer.source, offer.reason)
        for offer in offers
    ]
    for line in aligned([("INTERFACE", "NAME", "STATE", "CLASS", "SOURCE", ""), *rows]):
        click.echo(line)


@plugins_group.command(
    "check", epilog=examples("concurrent plugins check", "concurrent plugins check mine --plugins mine.py --behaviour")
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_config_option
@_plugin_option
@click.option("--behaviour", is_flag=True, help="Also run each component against stand-ins.")
@json_option
def check_plugins(
    names: tuple[str, ...], config_path: str | None, plugins: tuple[str, ...], *, behaviour: bool, as_json: bool
) -> None:
    """Check components, or all, against their interfaces; list all faults.

    Ends with 1 when a component has faults.
    """
    with configuration_errors():
        environment = Environment(config_path, plugins=plugins)
        offers = [offer for offer in environment.offers() if offer.state is not OfferState.DISABLED]
        unknown = [name for name in names if name not in {offer.name for offer in offers}]
        if unknown:
            existing = ", ".join(sorted({offer.name for offer in offers}))
            message = f"no enabled component is called {unknown[0]!r}; there are {existing}"
            raise click.UsageError(message)
        checked = []
        for offer in offers:
            if names and offer.name not in names:
                continue
            faults = _faults(environment, offer, behaviour=behaviour)
            checked.append({**_record(offer), "faults": list(faults)})
            if not as_json:
                _show_faults(offer, faults)
    if as_json:
        print_json({"components": checked})
    if any(each["faults"] for each in checked):
        raise click.exceptions.Exit(1)


def _show_faults(offer: Offer, faults: tuple[str, ...]) -> None:
    word = painted("FAULTY ", "red") if faults else painted("ok     ", "green")
    click.echo(f"{word} {offer.interface_name} {offer.name} ({offer.source})")
    for fault in faults:
        click.echo(f"          {fault}")


def _faults(environment: Environment, offer: Offer, *, behaviour: bool) -> tuple[str, ...]:
    if offer.state is OfferState.BROKEN:
        return offer.faults
    if not behaviour or offer.interface is None:
        return ()
    # Only here, for the contract suite brings tasks and stand-ins with it.
    from concurro.testing import check_component  # noqa: PLC0415

    try:
        check_component(environment.factory(offer.interface, offer.name), offer.interface)
    except ContractError as error:
        return error.faults
    return ()


def _record(offer: Offer) -> dict[str, Any]:
    return {
        "interface": offer.interface_name,
        "name": offer.name,
        "state": offer.state.value,
        "class": offer.factory,
        "source": offer.source,
        "reason": offer.reason,
    }
