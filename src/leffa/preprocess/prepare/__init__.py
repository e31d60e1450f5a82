"""From a data set as it is downloaded to what training reads: resized pictures, lists, masks.

Nothing is downloaded: what is missing is named with the official page where it is asked for.
"""
