"""Sentences by the batch: changed, tokenized, and batched by length."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the tokenizers' ops)

from components.artifacts import AssembledModel
from components.modalities.protocols import Decoded, Rows, Survey
from components.modalities.sentences.raw import Sentence
from components.modalities.sentences.views import Augmenter
from components.section import Views
from models import encoders

# So many batches' worth of texts are sorted by length together: then little is padding.
WINDOW = 256
# Lengths are rounded up to multiples of this, and all texts of a batch are of one such length: a
# sum over padding is not bit-identical to one over more of it, and what is computed of a text must
# not depend on which others were still to be computed.
STEP = 4

# The tokens at the start and the end of every text.
ENDS = 2


class SentenceReader:
    """See `protocols.Reader`. The inputs are `token_ids` and `padding_mask`, int32.

    There is one tokenizer, KerasHub's in TensorFlow's graph: its eager Python twin may differ.
    """

    endpoint = "serve_tokens"

    def __init__(self, model: AssembledModel, views: Views, seed: int) -> None:
        form = Sentence(**model.form)
        self._longest, self._even = form.sequence_length, encoders.FAMILIES[form.family].even
        tokens = self._longest if self._even else None
        self.inputs = [
            tf.TensorSpec((None, tokens), tf.int32, name=name)
            for name in ("token_ids", "padding_mask")
        ]
        self._tokenizer = encoders.open_tokenizer(form.family, model.directory / "preset")
        self._tokenizer.build(())  # Nothing to build; but only what is built is exported.
        self.tracked = [self._tokenizer]
        self._augmenter = Augmenter(model, views, seed)
        text = tf.TensorSpec((None,), tf.string)
        self._tokens = tf.function(self._tokenize, input_signature=[text])
        self._counts = tf.function(
            lambda raws: self._tokenizer(raws).row_lengths(), input_signature=[text]
        )

    def batches(self, rows: Rows, batch_size: int, *, augmented: bool) -> Iterator[Decoded]:
        del augmented  # View 0 is the text itself.
        texts = (
            (identity, self._augmenter(raw, identity.decode(), view), view)
            for identity, raw, views in rows()
            for view in views
        )
        while window := list(itertools.islice(texts, WINDOW * batch_size)):
            ids, raws, views = zip(*window, strict=True)
            token_ids, lengths = (t.numpy() for t in self._tokens(tf.constant(raws)))
            padded = self._padded(lengths)
            for length in np.unique(padded):
                alike = np.flatnonzero(padded == length)
                for chosen in np.split(alike, range(batch_size, len(alike), batch_size)):
                    yield self._decoded(
                        np.array(ids)[chosen],
                        np.array(views)[chosen],
                        token_ids[chosen],
                        lengths[chosen],
                    )

    def read(self, ids: list[str], raws: list[bytes], views: list[int]) -> Decoded:
        texts = map(self._augmenter, raws, ids, views)
        token_ids, lengths = (t.numpy() for t in self._tokens(tf.constant(list(texts))))
        return self._decoded(np.array(ids), np.array(views), token_ids, lengths)

    def serve(self, raws: Any) -> tuple[list[Any], Any]:
        """What is not UTF-8, or blank, becomes the empty text."""
        clean = tf.strings.unicode_transcode(raws, "UTF-8", "UTF-8", errors="replace")
        blank = tf.strings.regex_full_match(clean, r"[\p{Z}\p{Cc}]*")
        valid = tf.logical_and(clean == raws, tf.logical_not(blank))
        token_ids, lengths = self._tokenize(tf.where(valid, raws, ""))
        mask = tf.sequence_mask(lengths, tf.shape(token_ids)[1], tf.int32)
        return [token_ids, mask], valid

    def survey(self, raws: Iterable[bytes]) -> Survey:
        lengths = self._counts(tf.constant(list(raws))).numpy() + ENDS
        mean = np.minimum(lengths, self._longest).mean()
        cut = float(np.mean(lengths > self._longest))
        note = (
            f"{100 * cut:.1f} % of the training texts are longer than the {self._longest} tokens "
            f"that are read, and are cut."
        )
        return Survey(int(np.ceil(mean)), cut, note if cut else "")

    def _tokenize(self, raws: Any) -> tuple[Any, Any]:
        """(batch,) of texts → token ids, (batch, tokens), and how many each text has, (batch,)."""
        tokenizer = self._tokenizer
        room = self._longest - ENDS
        pieces = tf.cast(tokenizer(raws)[:, :room], tf.int32)
        ends = tf.fill([tf.size(raws), 1], 1)
        whole = tf.concat(
            [ends * tokenizer.start_token_id, pieces, ends * tokenizer.end_token_id], axis=1
        )
        padding = tokenizer.pad_token_id if self._even else 0
        shape = [None, self._longest if self._even else None]
        return whole.to_tensor(padding, shape=shape), tf.cast(whole.row_lengths(), tf.int32)

    def _padded(self, lengths: np.ndarray) -> np.ndarray:
        """How long to make each text."""
        if self._even:
            return np.full_like(lengths, self._longest)
        rounded: np.ndarray = np.minimum(-(-lengths // STEP) * STEP, self._longest)
        return rounded

    def _decoded(
        self, ids: np.ndarray, views: np.ndarray, token_ids: np.ndarray, lengths: np.ndarray
    ) -> Decoded:
        width = int(self._padded(lengths).max())
        missing = max(0, width - token_ids.shape[1])
        token_ids = np.pad(token_ids, [(0, 0), (0, missing)])[:, :width]
        mask = (np.arange(token_ids.shape[1]) < lengths[:, None]).astype(np.int32)
        return Decoded(ids, views, [token_ids, mask], None if self._even else lengths)
