"""From weights and photographs to images: `leffa predict`.

<out>/<name>.png            generated, at the size of the person's photograph
<out>/<name>.json           everything it depends on; written last, so its presence means done
<out>/warped/<name>.png     the reference warped by the attention's flow (--save-flow)
<out>/flow/<name>.png       the flow: red grows with x, green with y (--save-flow)
"""

from leffa.predict.job import Job, predict

__all__ = ["Job", "predict"]
