"""The web page: try-on and pose transfer in a browser, and as endpoints. `leffa app` starts it.

server      what is loaded, where it listens, the temporary folder that goes with it
middleware  limits on requests that gradio lacks; limits: what may be uploaded
page, tab   the layout, and which control does what; actions: what it does
widgets     the mask's brush and the flow view; parts: their JavaScript, HTML and CSS
ui_text     what the page says; settings: where it is served, and what a visitor may ask for
handler     from uploads to a job, from a job to progress
maps        masks and DensePose; examples: synthetic persons that need no networks for them
inference   one model, by way of `leffa.predict`; flow_grid: where its pixels came from
sessions    the files and the jobs of one visitor

gradio is an optional extra; nothing outside this package imports it.
"""
