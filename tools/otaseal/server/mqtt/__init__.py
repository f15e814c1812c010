"""Devices and their updates at an MQTT broker, as Home Assistant reads them."""
