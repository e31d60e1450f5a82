"""From weights and photographs to images: `leffa predict`.

<out>/<name>.png            generated, at the size of the person's photograph
<out>/<name>.json           all that it depends on; written last, so its presence says done
<out>/warped/<name>.png     what attention sees: the reference, warped by its flow (--save-flow)
<out>/flow/<name>.png       the flow: red grows with x, green with y (--save-flow)
"""

from leffa.predict.job import Job, predict

__all__ = ["Job", "predict"]
