"""A virtual ESP32: partition table, otadata, boot loader, `Update`, and the OtaSeal library beside it.

Written from arduino-esp32 2.0.17 and 3.3 and from ESP-IDF 4.4.7 and 5.5, apart from what signs (ADR 11).
"""
