"""From a downloaded dataset to what training reads: resized images, masks, matches."""
