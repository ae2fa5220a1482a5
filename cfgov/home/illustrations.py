"""Flat illustrations for the demonstration content, drawn with Pillow: nobody's rights, no binary file, few bytes."""

from __future__ import annotations

import io
from typing import Callable, Dict, Sequence, Tuple

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 1280, 800  # pixels of the finished image
_FINER = 2  # drawn larger, then reduced: smooth edges

Box = Tuple[float, float, float, float]
Point = Tuple[float, float]

INK, PAPER, AMBER, CREAM = "#1d2748", "#ffffff", "#f0a23b", "#fdeedb"
GREEN, BLUE, RED, SKY, SAND = "#4f9d7c", "#5b7fc4", "#d8674f", "#dfe8f7", "#f3dfbd"


class _Canvas:
    """Shapes in the coordinates of the finished image."""

    def __init__(self, background: str) -> None:
        self.image = Image.new("RGB", (WIDTH * _FINER, HEIGHT * _FINER), background)
        self._draw = ImageDraw.Draw(self.image)

    def box(self, box: Box, fill: str, radius: float = 0) -> None:
        self._draw.rounded_rectangle([side * _FINER for side in box], radius * _FINER, fill)

    def disc(self, center: Point, radius: float, fill: str) -> None:
        x, y = center
        self._draw.ellipse([side * _FINER for side in (x - radius, y - radius, x + radius, y + radius)], fill)

    def shape(self, points: Sequence[Point], fill: str) -> None:
        self._draw.polygon([(x * _FINER, y * _FINER) for x, y in points], fill)

    def line(self, points: Sequence[Point], fill: str, width: float) -> None:
        self._draw.line([(x * _FINER, y * _FINER) for x, y in points], fill, int(width * _FINER), joint="curve")
        for point in (points[0], points[-1]):
            self.disc(point, width / 2, fill)

    def text_lines(self, left: float, top: float, widths: Sequence[float], gap: float = 44) -> None:
        for row, width in enumerate(widths):
            self.line([(left, top + row * gap), (left + width, top + row * gap)], "#b9c0d4", 12)

    def png(self) -> bytes:
        finished = self.image.resize((WIDTH, HEIGHT), Image.LANCZOS).quantize(96)
        stream = io.BytesIO()
        finished.save(stream, "PNG", optimize=True)
        return stream.getvalue()


def draw(scene: str) -> bytes:
    """Return illustration *scene*, one of :data:`SCENES`, as a PNG of 1280 x 800 pixels.

    Raises:
        KeyError: there is no such scene.
    """
    background, paint = SCENES[scene]
    canvas = _Canvas(background)
    paint(canvas)
    return canvas.png()


def _desk(canvas: _Canvas) -> None:
    canvas.disc((1040, 210), 120, AMBER)
    canvas.box((0, 620, 1280, 800), SAND)
    canvas.box((330, 120, 830, 690), "#cfd6e8", 14)
    canvas.box((300, 100, 800, 670), PAPER, 14)
    canvas.box((360, 160, 560, 190), INK, 6)
    canvas.text_lines(366, 250, (360, 330, 370, 300, 350, 240))
    canvas.line([(366, 590), (420, 560), (450, 605), (500, 565), (540, 590)], BLUE, 10)
    canvas.disc((720, 575), 150, INK)
    canvas.disc((720, 575), 122, SKY)
    canvas.text_lines(640, 545, (160, 130, 150))
    canvas.line([(825, 680), (920, 775)], INK, 40)


def _house(canvas: _Canvas) -> None:
    canvas.disc((230, 190), 90, AMBER)
    canvas.shape([(0, 640), (420, 480), (900, 620), (1280, 520), (1280, 800), (0, 800)], GREEN)
    canvas.box((430, 360, 850, 690), PAPER)
    canvas.shape([(380, 370), (640, 160), (900, 370)], RED)
    canvas.box((590, 500, 690, 690), INK, 8)
    canvas.disc((668, 600), 9, AMBER)
    for left in (470, 730):
        canvas.box((left, 430, left + 80, 520), BLUE, 6)
        canvas.line([(left + 40, 436), (left + 40, 514)], PAPER, 6)
    canvas.line([(930, 690), (930, 470)], INK, 14)
    canvas.box((880, 420, 1120, 530), AMBER, 12)
    canvas.text_lines(920, 458, (150, 110), 36)


def _repair(canvas: _Canvas) -> None:
    canvas.box((0, 610, 1280, 800), "#c7d3ea")
    canvas.shape([(360, 470), (470, 330), (790, 330), (910, 470)], RED)
    canvas.shape([(480, 455), (530, 365), (630, 365), (630, 455)], SKY)
    canvas.shape([(655, 455), (655, 365), (765, 365), (835, 455)], SKY)
    canvas.box((260, 450, 1020, 590), RED, 46)
    for center in (420, 860):
        canvas.disc((center, 600), 82, INK)
        canvas.disc((center, 600), 36, "#b9c0d4")
    canvas.disc((980, 500), 20, AMBER)
    canvas.box((880, 120, 1130, 390), PAPER, 12)
    canvas.text_lines(925, 180, (160, 120, 150))
    canvas.line([(925, 330), (1085, 330)], RED, 14)


def _calendar(canvas: _Canvas) -> None:
    canvas.box((350, 170, 930, 680), PAPER, 26)
    canvas.box((350, 170, 930, 290), INK, 26)
    canvas.box((350, 250, 930, 290), INK)
    for left in (470, 790):
        canvas.line([(left, 130), (left, 215)], AMBER, 24)
    for row in range(3):
        for column in range(6):
            center = (425 + column * 86.0, 370 + row * 105.0)
            canvas.disc(center, 26, RED if (row, column) == (1, 3) else SKY)
    canvas.line([(665, 476), (680, 491), (704, 459)], PAPER, 9)
    canvas.shape([(980, 560), (1080, 480), (1080, 530), (1180, 530), (1180, 590), (1080, 590), (1080, 640)], AMBER)


def _parcel(canvas: _Canvas) -> None:
    canvas.box((0, 600, 1280, 800), "#e3c9a0")
    canvas.line([(90, 330), (250, 330)], PAPER, 16)
    canvas.line([(150, 400), (290, 400)], PAPER, 16)
    canvas.line([(60, 470), (270, 470)], PAPER, 16)
    canvas.shape([(380, 330), (640, 230), (900, 330), (640, 440)], "#c98f4e")
    canvas.shape([(380, 330), (640, 440), (640, 700), (380, 580)], "#b67c3d")
    canvas.shape([(900, 330), (640, 440), (640, 700), (900, 580)], "#a36c31")
    canvas.shape([(490, 288), (540, 268), (795, 375), (745, 396)], CREAM)
    canvas.shape([(745, 396), (795, 375), (795, 470), (745, 492)], CREAM)
    canvas.disc((1040, 260), 84, RED)
    canvas.shape([(965, 295), (1115, 295), (1040, 440)], RED)
    canvas.disc((1040, 260), 34, PAPER)


def _phone(canvas: _Canvas) -> None:
    canvas.disc((640, 420), 330, "#cfe3d9")
    canvas.box((480, 90, 800, 740), INK, 44)
    canvas.box((502, 150, 778, 680), PAPER, 14)
    canvas.box((535, 190, 700, 260), SKY, 20)
    canvas.box((580, 285, 745, 355), AMBER, 20)
    canvas.box((535, 380, 720, 480), SKY, 20)
    canvas.box((590, 505, 745, 575), AMBER, 20)
    canvas.disc((640, 710), 16, "#5a6178")
    canvas.shape([(860, 250), (1010, 190), (1010, 340)], RED)
    canvas.box((1000, 235, 1060, 295), RED, 14)
    canvas.line([(1095, 200), (1125, 175)], RED, 14)
    canvas.line([(1105, 265), (1145, 265)], RED, 14)
    canvas.line([(1095, 330), (1125, 355)], RED, 14)


def _receipt(canvas: _Canvas) -> None:
    canvas.disc((1000, 560), 130, AMBER)
    canvas.disc((1000, 560), 96, "#f7c77f")
    canvas.disc((880, 640), 110, "#d98a22")
    canvas.disc((880, 640), 80, AMBER)
    teeth = [(380 + step * 40.0, 700.0 if step % 2 else 660.0) for step in range(11)]
    canvas.shape([(380, 90), (780, 90), *reversed(teeth)], PAPER)
    canvas.box((430, 140, 640, 172), INK, 6)
    canvas.text_lines(436, 240, (180, 150, 190, 130), 66)
    canvas.text_lines(680, 240, (46, 46, 46, 46), 66)
    canvas.line([(430, 510), (730, 510)], INK, 6)
    canvas.box((430, 550, 560, 586), INK, 6)
    canvas.box((640, 550, 730, 586), RED, 6)


SCENES: Dict[str, Tuple[str, Callable[[_Canvas], None]]] = {
    "desk": (CREAM, _desk),
    "house": (SKY, _house),
    "repair": ("#e9eef8", _repair),
    "calendar": ("#dcebe4", _calendar),
    "parcel": (SAND, _parcel),
    "phone": ("#e4f0ea", _phone),
    "receipt": ("#e6e9f4", _receipt),
}
