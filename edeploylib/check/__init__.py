"""What is wrong with a deployment, told before the rack is powered on.

All of it is reasoning about texts and values; ``edeploylib.survey`` reads them.
"""
