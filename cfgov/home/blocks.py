"""What an editor can put into the body of a page."""

from __future__ import annotations

from wagtail import blocks
from wagtail.images.blocks import ImageChooserBlock


class FigureBlock(blocks.StructBlock):
    """An image with its text alternative and an optional caption."""

    image = ImageChooserBlock()
    alternative = blocks.CharBlock(
        required=False, max_length=250, help_text="What the image says, for those who cannot see it. Empty: decoration."
    )
    caption = blocks.CharBlock(required=False, max_length=250)

    class Meta:
        """How the editor and the page show it."""

        icon = "image"
        template = "home/blocks/figure.html"


class QuoteBlock(blocks.StructBlock):
    """Somebody's words and their name."""

    text = blocks.TextBlock()
    source = blocks.CharBlock(required=False, max_length=120)

    class Meta:
        """How the editor and the page show it."""

        icon = "openquote"
        template = "home/blocks/quote.html"


class CalloutBlock(blocks.StructBlock):
    """A box with a border: a tip or a warning."""

    kind = blocks.ChoiceBlock(choices=[("tip", "Tip"), ("warning", "Warning")], default="tip")
    title = blocks.CharBlock(max_length=120)
    text = blocks.RichTextBlock(features=["bold", "italic", "link"])

    class Meta:
        """How the editor and the page show it."""

        icon = "warning"
        template = "home/blocks/callout.html"


class StepBlock(blocks.StructBlock):
    """One step of a numbered list."""

    title = blocks.CharBlock(max_length=120)
    text = blocks.TextBlock(required=False)


class BodyBlock(blocks.StreamBlock):
    """The body of every page type."""

    heading = blocks.CharBlock(
        max_length=120, icon="title", form_classname="title", template="home/blocks/heading.html"
    )
    paragraph = blocks.RichTextBlock(icon="pilcrow", template="home/blocks/paragraph.html")
    figure = FigureBlock()
    quote = QuoteBlock()
    callout = CalloutBlock()
    steps = blocks.ListBlock(StepBlock(), icon="list-ol", template="home/blocks/steps.html")
