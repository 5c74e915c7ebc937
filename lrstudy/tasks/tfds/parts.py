"""Which data set is meant, and what of it is trained on and what is held out."""

import dataclasses
from typing import NamedTuple

from lrstudy.tasks.tfds.catalogue import Located, how_to_prepare, locate
from lrstudy.tasks.tfds.content import ImageContent, TextContent, content_of
from lrstudy.tasks.tfds.examples import HELD_OUT, KEPT, TENTH, Places
from lrstudy.tasks.tfds.storage import check_format, check_split, identity


class Part(NamedTuple):
    """Examples of a data set.

    Attributes:
        split: of the data set.
        places: of the examples in the split.
    """

    split: str
    places: Places


class Parts(NamedTuple):
    """What a prepared data set is cut into.

    Attributes:
        train: what is trained on.
        validation: what is evaluated with.
        identity: sha256 of what the data set declares, and of the ends of its files.
    """

    train: Part
    validation: Part
    identity: str

    def key(self, part: Part) -> str:
        """What the examples of a part follow from."""
        return f"{self.identity} {part.split} {part.places}"


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set by the fields of a task, whose names errors have.

    Attributes:
        name: as TFDS spells it, ``name[/config][:version]``.
        data_dir: folder of prepared data sets; empty: TFDS' own default.
        split: that is trained on.
        validation_split: that is evaluated with; empty: a tenth of the examples of ``split``, which are held out.
        feature: the text or image; empty: the only one that fits.
        label: of images; empty: the only one that fits.
    """

    name: str = ""
    data_dir: str = ""
    split: str = "train"
    validation_split: str = ""
    feature: str = ""
    label: str = ""

    def located(self) -> Located:
        """The data set, prepared or not.

        Raises:
            ValueError: there is none.
        """
        return locate(self.name, self.data_dir)

    def content(self) -> TextContent | ImageContent:
        """What of the data set is learnt from.

        Raises:
            ValueError: there is no such data set, or no feature of it fits.
        """
        located = self.located()
        return content_of(located.full_name, located.builder.info.features, self.feature, self.label)

    def ready(self) -> Located:
        """The prepared data set.

        Raises:
            ValueError: it is not prepared; the message says how that is done.
        """
        located = self.located()
        if not located.prepared:
            where = f"which '{located.folder}' does not hold"
            raise ValueError(
                f"task.name must be a prepared data set, got {self.name!r}, {where}; {how_to_prepare(located)}"
            )
        check_format(located)
        return located

    def parts(self, located: Located) -> Parts:
        """Training and validation part, whose files have been looked at.

        Raises:
            ValueError: a split is none, too small, or a file of it is missing or damaged.
        """
        size = check_split(located, self.split, "task.split")
        if self.validation_split:
            held_out = check_split(located, self.validation_split, "task.validation_split")
            digest = identity(located, (self.split, self.validation_split))
            return Parts(Part(self.split, Places(size)), Part(self.validation_split, Places(held_out)), digest)
        if size < TENTH:
            rule = f"a split where task.split has fewer than {TENTH} examples to hold a tenth of out"
            raise ValueError(f"task.validation_split must be {rule}, got ''")
        kept, held_out = (Part(self.split, Places(size, part)) for part in (KEPT, HELD_OUT))
        return Parts(kept, held_out, identity(located, (self.split,)))
