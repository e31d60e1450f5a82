"""From a dataset as it is downloaded to what training reads: resized images, masks, matches."""
