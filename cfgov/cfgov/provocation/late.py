"""Imported by the slow view only after its wait: names the release that *this* file is in."""

from __future__ import annotations

from pathlib import Path

from cfgov.release import read_release

BUILD_ID = read_release(Path(__file__).resolve().parents[3]).build_id
