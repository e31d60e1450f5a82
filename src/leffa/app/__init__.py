"""The web page: try-on and pose transfer in a browser, and as endpoints. `leffa app` starts it.

server      what is loaded, where it listens, the temporary folder that goes with it
gate        what reaches the server at all: bytes of a request, no fetching from addresses
page, tab   the layout (gradio); wiring: which control does what; actions: what it does
widgets     the mask's brush and the flow view; parts: their JavaScript, HTML and CSS
words       what the page says
desk        from uploads to an order, from an order to progress
limits      what may be uploaded; maps: masks and DensePose; examples: drawn persons
studio      one model, by way of `leffa.predict`; flow_grid: where its pixels came from
sessions    the files and the work of one visitor

gradio is an optional extra; nothing outside this package imports it.
"""
