"""The client: one attempt, released by the gate, sent over a wire of our own, timed where its bytes arrive.

async with Client(endpoint) as client:
    attempt = await client.attempt(released)
"""

from workbench.client.address import check_literal, preflight
from workbench.client.attempt import RETRYABLE, Client, Endpoint

__all__ = ["RETRYABLE", "Client", "Endpoint", "check_literal", "preflight"]
