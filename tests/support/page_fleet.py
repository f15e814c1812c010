"""A server in the middle of a rollout, for those who look at its page."""

from __future__ import annotations

from support.servers import PRODUCT, Running, as_device, operator, publish, talk

PATH = f"/{PRODUCT}/firmware.bin.signed"
FLEET = 24


def mac(number: int) -> str:
    return f"5C:CF:7F:0{number % 7}:{number * 37 % 256:02X}:{number:02X}"


def ask(server: Running, number: int, seed: int, version: str) -> int:
    """Let a device of the fleet ask, which runs the firmware of this seed."""
    request = as_device(PATH, server.world.firmware(seed), mac(number), version=version)
    return talk(server.world.context(), server.port, request).status


def roll_out(server: Running) -> None:
    """Have 1.3.2 with all devices of a fleet, and 1.4.0 with half of them: most came back, and one of them did not."""
    publish(server, "1.3.2", server.world.firmware(1).signed)
    for number in range(FLEET):
        ask(server, number, 1, "1.3.2")
    publish(server, "1.4.0", server.world.firmware(2).signed, percent=50, max_failed=20)
    given = [number for number in range(FLEET) if ask(server, number, 1, "1.3.2") == 200]
    for number in given[2:]:
        ask(server, number, 2, "1.4.0")
    ask(server, given[0], 1, "1.3.2")
    publish(server, "1.5.0-rc1", server.world.firmware(3).signed, channel="beta")
    operator(server).post(f"/v1/products/{PRODUCT}/tag-rules", {"tag": "esp", "chip": "esp*", "version": "1.*"})
