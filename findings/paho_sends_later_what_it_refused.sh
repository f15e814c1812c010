#!/usr/bin/env bash
# paho-mqtt 2.2.0: publish() with QoS 1 while there is no connection returns MQTT_ERR_NO_CONN ("the client is not currently
# connected"), and is_published() raises RuntimeError "Message publish failed"; but the message is kept, and is sent when
# the client connects, however much later. With QoS 0 the same two answers mean that it is gone.
# Seen: of two messages that were refused with one and the same error, the one with QoS 1 arrives after connect().
# Matters to: who tries again on an error (it arrives twice), and commands such as "install now" that come hours late.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q paho-mqtt==2.2.0 amqtt==0.12.1
cat >late.py <<'PYTHON'
import asyncio, logging, socket
import paho.mqtt.client as mqtt
from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
with socket.create_server(("127.0.0.1", 0)) as held:
    port = held.getsockname()[1]
arrived = []

def client():
    return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)

def publish_and_connect():
    subscribed = []
    subscriber = client()
    subscriber.on_message = lambda _client, _data, message: arrived.append(message.payload.decode())
    subscriber.on_subscribe = lambda *_: subscribed.append(True)
    subscriber.on_connect = lambda one, *_: one.subscribe("#", 1)
    subscriber.connect("127.0.0.1", port)
    while not subscribed:
        subscriber.loop(0.1)
    publisher = client()
    for qos in (0, 1):
        sent = publisher.publish("update", f"qos {qos}", qos)
        try:
            told = sent.is_published()
        except RuntimeError as error:
            told = str(error).partition(":")[0]
        print(f"qos {qos}: {sent.rc.name}, {told}")
    publisher.connect("127.0.0.1", port)
    for _ in range(30):
        publisher.loop(0.05)
        subscriber.loop(0.05)
    print("arrived:", *arrived)

async def main():
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
    broker = Broker({"listeners": listeners, "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}})
    await broker.start()
    await asyncio.to_thread(publish_and_connect)
    await broker.shutdown()

asyncio.run(main())
PYTHON
timeout 120 venv/bin/python late.py 2>/dev/null | tee output
diff output - <<'EXPECTED'
qos 0: MQTT_ERR_NO_CONN, Message publish failed
qos 1: MQTT_ERR_NO_CONN, Message publish failed
arrived: qos 1
EXPECTED
