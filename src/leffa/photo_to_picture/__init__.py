"""From a photo and a garment to an image, using published networks for every step.

<out>/NAME.png  NAME.json                  the image, and everything it depends on: see `predict`
<out>/maps/PERSON-HASH/masks/PERSON.png    what is repainted; beside it parse/ keypoints/ densepose/
<out>/maps/GARMENT-HASH/garment.png        cut out of a photo of someone wearing it
"""

from leffa.photo_to_picture.request import PhotoRequest, Weights
from leffa.photo_to_picture.run import Pictures, make_pictures

__all__ = ["PhotoRequest", "Pictures", "Weights", "make_pictures"]
