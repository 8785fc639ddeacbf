# SPDX-License-Identifier: Apache-2.0
"""The problems `train` and `sample` of `finediffusion bench`: their words, sizes, masks and flops."""

SIZES = {"XL": (1152, 28, 16), "L": (1024, 24, 16), "B": (768, 12, 12), "S": (384, 12, 6)}
MASKS = {
    "finediffusion": lambda n: "embedding_table" in n or "bias" in n or "norm" in n,
    "bitfit": lambda n: "embedding_table" in n or ("bias" in n and "norm" not in n),
    "norm": lambda n: "embedding_table" in n or "norm" in n,
    "table": lambda n: "embedding_table" in n,
    "full": lambda n: n != "pos_embed",
}


ADAPTERS = ("lora", "rslora", "difffit", "difffit-linear")


def mask_of(text):
    """A mask as `train --tune` takes it: words with "+" between, those of an adapter with its rank behind ":";
    the class table is trained with every one. None: not a mask."""
    words = text.split("+")
    if any(w.split(":")[0] not in ADAPTERS and w not in MASKS for w in words):
        return None
    rules = [MASKS[w] for w in words if w in MASKS]
    if any(w.startswith("difffit") for w in words):
        rules.append(MASKS["finediffusion"])
    return lambda n: "embedding_table" in n or "lora_" in n or "gamma" in n or any(r(n) for r in rules)


class Problem:
    """train [MASK] MODEL bN [size=S] [channels=C] [classes=N], or sample ..."""

    def __init__(self, text):
        self.text = " ".join(text.split())
        self.kind, *words = self.text.split()
        self.mask, self.batch, self.size, self.channels, self.rows = "finediffusion", 1, 32, 4, 10011
        self.width = None
        if self.kind not in ("train", "sample"):
            raise SystemExit(f"'{self.text}': only train and sample are measured here")
        for word in words:
            if mask_of(word) and self.kind == "train":
                self.mask = word
            elif word.startswith("DiT-"):
                name, self.patch = word[4:].split("/")
                self.width, self.depth, self.heads = SIZES[name]
                self.patch = int(self.patch)
            elif "," in word:
                self.width, self.depth, self.heads, self.patch = map(int, word.split(","))
            elif word.startswith("b"):
                self.batch = int(word[1:])
            elif word.startswith("size="):
                self.size = int(word[5:])
            elif word.startswith("channels="):
                self.channels = int(word[9:])
            elif word.startswith("classes="):
                self.rows = int(word[8:])
            else:
                raise SystemExit(f"'{self.text}': '{word}' is not understood")
        if self.width is None:
            raise SystemExit(f"'{self.text}': the model is missing")

    @property
    def tokens(self):
        return (self.size // self.patch) ** 2

    def flops(self):
        """2mnk for each product that is computed, 4 N^2 D for attention, 8 N^2 D for its backward."""
        n, d, c, p = self.tokens, self.width, self.channels, self.patch
        patch_in, patch_out = c * p * p, 2 * c * p * p
        attention = self.depth * 4 * n * n * d
        blocks = self.depth * (2 * n * 12 * d * d + 2 * 6 * d * d)
        ends = 2 * (n * d * patch_in + n * d * patch_out + 256 * d + d * d + 2 * d * d)
        forward = attention + blocks + ends
        if self.kind == "sample":
            return 2 * self.batch * forward
        bias_below = self.mask not in ("norm", "table")       # a bias of the first time layer is trained
        dx = blocks + ends - 2 * (n * d * patch_in + 256 * d)  # the ends of the chain need no dX
        if not bias_below:
            dx -= 2 * d * d
        dw = blocks + ends if self.mask == "full" else 0
        return self.batch * (forward + dx + dw + 2 * attention)
