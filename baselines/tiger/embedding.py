"""Item text -> vectors: TF-IDF and truncated SVD, offline; or a sentence-transformers model (paper: Sentence-T5)."""

from collections.abc import Sequence

import numpy as np

from cpbench.errors import UsageError

TF_IDF = "tf-idf"
SENTENCES = "sentence-transformers:"
"""Prefix of the other way: ``sentence-transformers:sentence-t5-base``, or the path of a local model behind it."""


def embed(texts: Sequence[str], how: str, width: int, seed: int) -> np.ndarray:
    """Unit vectors float32 [N, at most `width`] of N texts; an empty text is the zero vector.

    `width` bounds TF-IDF only. Raises UsageError for an unknown `how`, for a model that cannot be had, and for texts
    without a word.
    """
    if how == TF_IDF:
        vectors = _tf_idf(texts, width, seed)
    elif how.startswith(SENTENCES) and how != SENTENCES:
        vectors = _sentence_transformer(texts, how.removeprefix(SENTENCES))
    else:
        raise UsageError(f"embedding = {how!r} is neither {TF_IDF!r} nor '{SENTENCES}NAME-OR-PATH'")
    vectors = np.where(np.array([not text for text in texts])[:, None], 0.0, vectors)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 0, length, 1.0), dtype=np.float32)


def _tf_idf(texts: Sequence[str], width: int, seed: int) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:  # single characters count: a title may be "2", or one sign of another script
        weights = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+").fit_transform(texts)
    except ValueError as error:  # an empty vocabulary
        raise UsageError(f"the text of the items cannot be used: {error}") from error
    if weights.shape[1] <= width:
        return np.asarray(weights.toarray())
    components = min(width, weights.shape[0])
    return np.asarray(TruncatedSVD(components, random_state=seed).fit_transform(weights))


def _sentence_transformer(texts: Sequence[str], name: str) -> np.ndarray:
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise UsageError(f"embedding = '{SENTENCES}{name}' needs the package sentence-transformers ({error}): "
                         f"pip install 'cpbench[text]', or use embedding={TF_IDF}") from error
    disable_progress_bar()  # it knows nothing of --quiet
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise UsageError(f"the sentence-transformers model {name!r} cannot be loaded: "
                         f"{' '.join(str(error).split())}") from error
    return np.asarray(model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False))
