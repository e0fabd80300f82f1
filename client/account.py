"""``strongroom sign-in`` and ``strongroom sign-out``."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated

import typer

from client.session import Session, SessionStore, check_server


def sign_in(
    server: Annotated[str, typer.Option(metavar="URL", help="The server.", show_default=False)],
    tenant: Annotated[str, typer.Option(metavar="SLUG", help="Your tenant.", show_default=False)],
    username: Annotated[str, typer.Option(metavar="NAME", help="Yourself.", show_default=False)],
) -> None:
    """Sign in for two hours.

    The password is asked for, or read from standard input. The token is kept in your configuration
    folder, readable by you alone.
    """
    from client.api import Api, Problem
    from client.views import SignedIn

    base_url = check_server(server)
    credentials = {"tenant": tenant, "username": username, "password": _secret("Password")}
    with Api(base_url, None) as api:
        try:
            signed_in = api.post("auth/sign-in", SignedIn, credentials)
        except Problem as problem:
            if problem.slug != "password-change-required":
                raise
            sys.stderr.write("This password was temporary: choose one of your own.\n")
            credentials["new_password"] = _new_secret()
            signed_in = api.post("auth/sign-in", SignedIn, credentials)
    session = Session(base_url, signed_in.token, signed_in.expires_at.isoformat())
    SessionStore(os.environ).save(session)
    typer.echo(f"Signed in at {base_url} until {signed_in.expires_at:%Y-%m-%d %H:%M %Z}.")


def sign_out() -> None:
    """Forget the sign-in on this machine."""
    forgotten = SessionStore(os.environ).forget()
    typer.echo("Signed out." if forgotten else "Nobody was signed in.")


def _secret(prompt: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{prompt}: ")
    return sys.stdin.readline().rstrip("\n")


def _new_secret() -> str:
    while True:
        chosen = _secret("New password")
        if not sys.stdin.isatty() or _secret("Again") == chosen:
            return chosen
        sys.stderr.write("These two differ.\n")
