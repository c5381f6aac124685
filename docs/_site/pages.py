"""Pages as the site shows them: blocks of Python run and show what they print, and names in code link to the reference.

The Markdown is written for readers of the repository too, so it has plain fences and plain code. This extension turns
fences into the cells of a notebook while Sphinx reads a page.
"""

from docutils import nodes
from sphinx.domains.python import PythonDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from _site import reference
from _site.fences import executed
from _site.names import dotted
from _site.numbers import unbroken
from docs import listing

LONG = 32  # characters: longer names may be broken where a table is narrow


def read(app, page: str, source: list[str]) -> None:
    source[0] = reference.contents() if page == "reference/index" else executed(source[0])


class Linked(SphinxPostTransform):
    """Makes a link of inline code that is a public name."""

    default_priority = 400

    def run(self, **kwargs) -> None:
        domain = self.env.domains["py"]
        assert isinstance(domain, PythonDomain)
        for code in list(self.document.findall(nodes.literal)):
            name = dotted(code.astext())
            entry = domain.objects.get(name) if name else None
            if entry is None or isinstance(code.parent, nodes.reference):
                continue
            link = make_refnode(
                self.app.builder, self.env.current_document.docname, entry.docname, entry.node_id, code.deepcopy(), name
            )
            code.replace_self(link)


class Unbroken(SphinxPostTransform):
    """Keeps a number on one line with its sign, which narrow columns would separate, and marks long names."""

    default_priority = 410

    def run(self, **kwargs) -> None:
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.literal | nodes.literal_block):
                continue
            if (whole := unbroken(text.astext())) != text.astext():
                text.parent.replace(text, nodes.Text(whole))
        for code in self.document.findall(nodes.literal):
            if max(map(len, code.astext().split()), default=0) > LONG:
                code["classes"].append("long")


def shown_signature(app, kind, name, value, options, signature, returns):
    """Without annotations: types are in the text, and those of JAX have long private names."""
    return None if signature is None else (listing.signature("", value), None)


def setup(app) -> dict:
    app.connect("source-read", read)
    app.connect("autodoc-process-signature", shown_signature)
    app.add_post_transform(Linked)
    app.add_post_transform(Unbroken)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
